"""The transport of workers takes the way that the environment wants, as httpx does."""

import asyncio
import json
import shutil
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from neurogloss.errors import EndpointUnreachable, InputError, UnknownModel
from neurogloss.llm.endpoint import Endpoint
from neurogloss.llm.probe import probe_chat
from neurogloss.llm.transports import Transports, proxy_of
from tests.support.tls_front import make_certificates

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
ANSWER = {"choices": [{"finish_reason": "stop", "message": {"content": "Rhine"}}]}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Take proxies out of the environment, and return a function that sets variables."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch.setenv


@pytest.fixture
def serve():
    """Return a function that starts a server which answers every POST by a function."""
    servers = []

    def start(answer, certificates=None):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, body = answer(self)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificates is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None  # of clients that do not trust it
            scheme = "https"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"{scheme}://localhost:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def worker_status(url):
    """Return the status of a call as a worker makes it."""

    async def send():
        transports = Transports()
        try:
            request = httpx.Request("POST", url, content=b"{}", extensions={"timeout": {}})
            response = await transports.to(url).handle_async_request(request)
            await response.aread()
            return response.status_code
        finally:
            await transports.close()

    return asyncio.run(send())


def test_an_endpoint_that_only_a_proxy_reaches_is_reached_by_probe_and_workers(serve, environment):
    asked = []

    def answer(handler):
        asked.append(handler.path)
        return 200, {}, json.dumps(ANSWER).encode()

    environment("HTTP_PROXY", serve(answer))
    environment("NO_PROXY", "127.0.0.1,localhost")
    probe_chat(Endpoint(name="e", base_url="http://llm.invalid/v1"), "m")
    assert worker_status("http://llm.invalid/v1/chat/completions") == 200
    assert asked == ["http://llm.invalid/v1/chat/completions"] * 2


def test_a_host_that_needs_no_proxy_is_reached_without_it(serve, environment):
    url = serve(lambda handler: (200, {}, json.dumps(ANSWER).encode()))
    environment("HTTP_PROXY", "http://127.0.0.1:9")
    environment("NO_PROXY", "localhost")
    probe_chat(Endpoint(name="e", base_url=url), "m")
    assert worker_status(f"{url}/chat/completions") == 200


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "http://a/v1", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://a/v1", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://a/v1", None),
        ({"HTTPS_PROXY": "p:1"}, "https://a/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://a/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": ".b.org"}, "https://a.b.org/v1", None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://a/v1", None),
    ],
)
def test_the_proxy_is_that_of_the_environment(environment, variables, url, proxy):
    for name, value in variables.items():
        environment(name, value)
    assert proxy_of(url) == proxy


def test_a_proxy_that_workers_cannot_use_is_refused_before_the_run(environment):
    environment("ALL_PROXY", "socks5://p:1")
    with pytest.raises(InputError, match="not an HTTP proxy"):
        probe_chat(Endpoint(name="e", base_url="http://a/v1"), "m")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "http://[::1"),
        ("ALL_PROXY", "proxy:port"),
        ("NO_PROXY", "[::1]:80"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("SSL_CERT_FILE", __file__),
    ],
)
def test_a_way_that_cannot_be_read_is_refused_before_the_run(environment, variable, value):
    environment(variable, value)
    with pytest.raises(InputError, match=variable):
        probe_chat(Endpoint(name="e", base_url="https://a.invalid/v1", wait_s=1), "m")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    # They are made by the script of deploy/tls, as people make them: it calls openssl.
    if not shutil.which("openssl"):
        pytest.skip("certificates need openssl")
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, "localhost")
    return folder


def test_probe_and_workers_trust_the_same_certificates(serve, environment, certificates):
    url = serve(lambda handler: (200, {}, json.dumps(ANSWER).encode()), certificates)
    endpoint = Endpoint(name="e", base_url=url, wait_s=1)
    with pytest.raises(EndpointUnreachable, match=r"(?i)certificate.?verify.?failed"):
        probe_chat(endpoint, "m")
    with pytest.raises(httpx.RequestError, match=r"(?i)certificate.?verify.?failed"):
        worker_status(f"{url}/chat/completions")
    environment("SSL_CERT_FILE", str(certificates / "ca.crt"))
    probe_chat(endpoint, "m")
    assert worker_status(f"{url}/chat/completions") == 200


def test_a_redirect_is_followed_by_neither_and_named(serve):
    url = serve(lambda handler: (308, {"Location": "http://elsewhere.invalid/v1"}, b""))
    assert worker_status(url) == 308
    with pytest.raises(UnknownModel, match="base_url"):
        probe_chat(Endpoint(name="e", base_url=url), "m")
