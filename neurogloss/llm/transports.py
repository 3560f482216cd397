"""The way to an endpoint: proxies, certificates and redirects, alike for probes and for workers.

httpx, which probes use, reads HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE by
itself. aiohttp, which makes the calls of workers, takes from here what httpx would do.
"""

from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from neurogloss.errors import InputError
from neurogloss.llm.bounded_http import way_of_environment

_KEEP_ALIVE_S = 30.0
_HTTP = ("http", "https")


def proxy_of(url: str) -> str | None:
    """Return the proxy through which the environment wants a URL to be reached; None for none.

    Raises:
        InputError: It is no HTTP proxy.
    """
    target = httpx.URL(url)
    proxies = getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(target.host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    with way_of_environment():
        scheme = httpx.URL(proxy).scheme
    if scheme not in _HTTP:
        raise InputError(
            f"the proxy for {target.host} is not an HTTP proxy: set HTTP_PROXY and HTTPS_PROXY to "
            "http://HOST:PORT, or name the host in NO_PROXY"
        )
    return proxy


class Transports:
    """One transport for each proxy, and one without. Belongs to an event loop."""

    def __init__(self) -> None:
        self._by_proxy: dict[str | None, AiohttpTransport] = {}

    def to(self, url: str) -> AiohttpTransport:
        """Return the transport that leads to a URL."""
        proxy = proxy_of(url)
        if proxy not in self._by_proxy:
            self._by_proxy[proxy] = _transport(proxy)
        return self._by_proxy[proxy]

    async def close(self) -> None:
        """Close the connections."""
        for transport in self._by_proxy.values():
            await transport.aclose()


def _transport(proxy: str | None) -> AiohttpTransport:
    """Return a transport without limits, which are the limiter's, and without cookies."""
    with way_of_environment():
        transport = AiohttpTransport(proxy=httpx.Proxy(proxy) if proxy else None)
    connector = aiohttp.TCPConnector(
        limit=0, keepalive_timeout=_KEEP_ALIVE_S, ssl=transport.ssl_context
    )
    transport.client = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    )
    return transport
