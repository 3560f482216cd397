"""The configuration reader on files of any content: a configuration that works, or a message."""

import json
import string
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from db.configurations import differences
from neurogloss.config.run import RunConfig
from neurogloss.config.toml import read_config
from neurogloss.errors import InputError
from orchestrator.cli.actions.demo import DEMO
from orchestrator.runs.limits import parse_assignment

RUNS = Path(__file__).parents[2] / "deploy" / "runs"
WHOLE = (RUNS / "gpt2-xl.toml").read_text()
BASES = [WHOLE, (RUNS / "demo.toml").read_text(), DEMO.read_text()]
LOOKUP = 'name = "x"\nexplainer.kind = "lookup"\nsimulator.kind = "lookup"\n'

VALUES = (
    "0", "-1", "1e999", "nan", "inf", "-inf", "1e308", "99999999999999999999999", "0x" + "f" * 9999,
    "9" * 5000, "true", '""', '"\\u0000"', '"\\u001B[2J"', '"a\\nb"', "[]", "{}", "[[1]]",
    "1979-05-27T07:32:00Z", "07:32:00", '"http://["', '"http://:99999999/"', '"https://"',
    '"http://xn--a/"', '"all"', '"json"', '"auto"', '"lookup"', "'''a'''", "[0, 0, 5]", "[-1]",
    '"demo"', '"batch"', "0.5", "1", "5", "64",
)  # fmt: skip
KEYS = (
    "name", "colour", "subject.model", "subject.dtype", "corpus.source", "corpus.excerpts",
    "corpus.excerpt_tokens", "corpus.seed", "records.top", "records.random",
    "records.per_quantile", "neurons.layers", "neurons.per_layer", "explainer.kind",
    "explainer.endpoint", "explainer.model", "simulator.kind", "simulator.records_per_call",
    "scoring.top", "scoring.random", "endpoints.here.base_url", "endpoints.here.api_key_env",
    "endpoints.here.requests_per_minute", "endpoints.here.tokens_per_minute",
    "endpoints.here.max_in_flight", "endpoints.here.timeout_s", "endpoints.here.mode",
    "endpoints.here.batches.max_lines", "endpoints.here.batches.fill_s",
    "endpoints.here.batches.poll_s", 'endpoints.here.prices."a\\u0000"', "endpoints.here.prices.m",
    "endpoints.here.prices.m.input", 'endpoints."\\u001B".base_url', "endpoints", "budget.usd",
    "budget", "shards.excerpts", "shards.neurons",
)  # fmt: skip

lines = st.builds(lambda k, v: f"{k} = {v}", st.sampled_from(KEYS), st.sampled_from(VALUES))


@st.composite
def damaged(draw):
    """A valid file with pieces taken out, doubled, or replaced."""
    text = draw(st.sampled_from(BASES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 30)))
        new = draw(
            st.one_of(
                st.just(""),
                st.just(text[start:stop] * 2),
                st.text(max_size=8),
                st.sampled_from(VALUES),
                st.text(alphabet=string.punctuation + "\n", max_size=6),
            )
        )
        text = text[:start] + new + text[stop:]
    return text.encode("utf-8", errors="surrogatepass")


@st.composite
def assigned(draw):
    """A small valid file with values of any kind at keys that there are."""
    chosen = draw(st.lists(lines, min_size=1, max_size=5))
    return "\n".join([*chosen, draw(st.sampled_from(["", LOOKUP]))]).encode()


contents = st.one_of(assigned(), damaged(), st.binary(max_size=60), st.text(max_size=60).map(
    lambda text: text.encode("utf-8", errors="surrogatepass")
))  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "run.toml"


@given(contents)
@example(b"a = " + b"[" * 100_000)
@example(b"a = " + b"{a=" * 50_000)
@example(f"{LOOKUP}corpus.seed = {'9' * 5000}".encode())
@example(f"{LOOKUP}corpus.seed = 0x{'f' * 9999}".encode())
@example(f"{LOOKUP}endpoints.a.base_url = 'http://['".encode())
@example(f"{LOOKUP}endpoints.a.base_url = 'http://a:1/'\nendpoints.a.timeout_s = inf".encode())
@example(f'{LOOKUP}corpus.source = "a\\u0000b"'.encode())
def test_any_file_is_a_configuration_that_can_be_stored_or_a_message_that_names_it(path, content):
    path.write_bytes(content)
    try:
        config = read_config(path)
    except InputError as error:
        lines = str(error).split("\n")
        assert all(str(path) in line or line.startswith(" ") for line in lines[:1])
        assert len(str(error)) < 20_000
        return
    is_good(config)


def is_good(config):
    """Whether nothing later in the run can stumble over it."""
    stored = json.dumps(config.model_dump(mode="json"), allow_nan=False)
    assert "\\u0000" not in stored
    again = RunConfig.model_validate(json.loads(stored))
    # Not the folder of the file, which is stored beside the configuration.
    assert (again.model_dump(), again.digest()) == (config.model_dump(), config.digest())
    assert differences(again.frozen(), config.frozen()) == []
    for endpoint in config.endpoints.values():
        assert httpx.Client(base_url=endpoint.base_url).base_url.host


@given(st.one_of(st.text(max_size=40), st.builds(lambda k, v: f"{k}={v}",
       st.one_of(st.sampled_from(KEYS), st.text(max_size=10)),
       st.one_of(st.sampled_from([*VALUES, "none"]), st.text(max_size=10)))))  # fmt: skip
@example("a=" + "[" * 100_000)
@example("a=" + "9" * 5000)
def test_any_assignment_is_read_or_refused(assignment):
    try:
        assert isinstance(parse_assignment(assignment), dict)
    except InputError as error:
        assert "is not of the form KEY=VALUE" in str(error)
