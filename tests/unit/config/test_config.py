import pytest

from db.configurations import differences
from neurogloss.config.toml import read_config
from neurogloss.errors import InputError
from orchestrator.cli.actions.demo import DEMO

ENDPOINT = '[endpoints.openai]\nbase_url = "https://api.test/v1"\n'
LOOKUP = '[explainer]\nkind = "lookup"\n[simulator]\nkind = "lookup"\n'


@pytest.fixture
def read(tmp_path):
    def read(text: str):
        path = tmp_path / "run.toml"
        path.write_text(text)
        return read_config(path)

    return read


def test_everything_but_the_name_has_a_default(read):
    config = read('name = "small"\n' + ENDPOINT)
    assert (config.records.top, config.scoring.top, config.corpus.excerpt_tokens) == (20, 5, 64)


def test_the_demo_is_valid():
    assert read_config(DEMO).needs_lookup


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "name is missing", id="no name"),
        pytest.param('name = "a b"', "name = 'a b'", id="name"),
        pytest.param('name = "x"\ncolour = 1', "unknown key colour", id="unknown key"),
        pytest.param('name = "x"\n[corpus]\nexcerpt = 5', "unknown key corpus.excerpt", id="typo"),
        pytest.param('name = "x"\n[corpus]\nexcerpts = "5"', "corpus.excerpts = '5'", id="type"),
        pytest.param('name = "x"\n[corpus]\nexcerpts = 0', "corpus.excerpts = 0", id="zero"),
        pytest.param('name = "x"\n[corpus]\nexcerpts = 30', "too few: records.top", id="too few"),
        pytest.param('name = "x"\n[subject]\ndtype = "int8"', "subject.dtype = 'int8'", id="dtype"),
        pytest.param('name = "x"\n[records]\ntop = 8', "scoring.top = 5 needs", id="splits"),
        pytest.param('name = "x"\n[budget]\nusd = nan', "budget.usd = nan", id="nan"),
        pytest.param('name = "x"', "endpoint = 'openai' is not defined", id="no endpoint"),
        pytest.param(
            'name = "x"\n[scoring]\nalso = ["detection"]\n[scorer]\nendpoint = "b"',
            "scorer.endpoint = 'b'",
            id="no endpoint of the scorer",
        ),
        pytest.param(
            'name = "x"\n[scoring]\nalso = ["fuzzing", "fuzzing"]', "a scorer twice", id="twice"
        ),
        pytest.param('name = "x"\n[scoring]\nalso = ["taste"]', "scoring.also", id="scorer"),
        pytest.param(
            'name = "x"\n[ablation]\nper_layer = 1', 'add "linear" to scoring', id="no calibration"
        ),
        pytest.param('name = "x"\n[scoring]\ncontrol = 1.5', "scoring.control = 1.5", id="share"),
        pytest.param(
            'name = "x"\n[scoring]\ncontrol = 0.1\n[simulator]\nkind = "lookup"',
            "scoring.control: simulator.kind",
            id="nothing to control",
        ),
        pytest.param('name = "x"\n[explainer]\nsentences = 6', "sentences = 6", id="not by 4"),
        pytest.param(
            'name = "x"\n[explainer]\nkind = "lookup"\ncandidates = 2',
            "writes one explanation",
            id="several of one",
        ),
        pytest.param(
            'name = "x"\n[explainer]\nrevise = true\n[simulator]\nkind = "lookup"',
            "it cannot judge candidates",
            id="a judge that does not read",
        ),
        pytest.param('name = "x', "is not TOML", id="not TOML"),
        pytest.param('name = "x"\nneurons = 3', "neurons = 3", id="no table"),
        pytest.param(
            'name = "x"\n[endpoints.a]\nbase_url = "ftp://x"', "endpoints.a.base_url", id="scheme"
        ),
    ],
)
def test_what_is_wrong_is_named(read, text, message):
    tail = "" if "no endpoint" in message or "not defined" in message else "\n" + ENDPOINT
    with pytest.raises(InputError) as caught:
        read(text + tail)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "https://me:sk-1@api.test/v1",
        "https://api.test/v1?key=sk-1",
        "https://api.test/v1?api-version=2&Subscription-Key=sk-1",
        "https://api.test/v1?sk-1",
        "https://a.b/#sk-1",
    ],
)
def test_an_address_that_may_hold_a_key_is_refused_and_not_quoted(read, address):
    with pytest.raises(InputError, match=r"endpoints\.a\.base_url: .* api_key_env names") as caught:
        read(f'name = "x"\n[endpoints.a]\nbase_url = "{address}"')
    assert "sk-1" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_config(tmp_path / "none.toml")


def test_a_byte_order_mark_is_no_matter(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xef\xbb\xbf" + DEMO.read_bytes())
    assert read_config(tmp_path / "run.toml").model_dump() == read_config(DEMO).model_dump()


def test_limits_and_budget_may_change_under_a_name(read):
    before = read('name = "x"\n' + ENDPOINT)
    after = read('name = "x"\n[budget]\nusd = 5.0\n' + ENDPOINT + "requests_per_minute = 9\n")
    assert before.digest() == after.digest()


def test_what_was_frozen_may_not_change(read):
    before, after = read('name = "x"\n' + LOOKUP), read('name = "x"\ncorpus.seed = 1\n' + LOOKUP)
    assert before.digest() != after.digest()
    assert differences(before.frozen(), after.frozen()) == ["corpus.seed: 0 -> 1"]


def test_the_wishes_for_short_documents_change_the_hash_only_where_they_are_used(read):
    plain = read('name = "x"\n' + ENDPOINT)
    explicit = read('name = "x"\n[corpus]\nshort = "drop"\nbegin_of_text = false\n' + ENDPOINT)
    assert explicit.digest() == plain.digest()
    assert explicit.model_dump(mode="json") == plain.model_dump(mode="json")
    assert not {"short", "begin_of_text"} & plain.model_dump(mode="json")["corpus"].keys()
    kept = read('name = "x"\n[corpus]\nshort = "keep"\nbegin_of_text = true\n' + ENDPOINT)
    assert kept.digest() != plain.digest()
    stored = type(kept).model_validate(kept.model_dump(mode="json"))
    assert (stored.corpus.short, stored.corpus.begin_of_text) == ("keep", True)
    assert stored.digest() == kept.digest()


def test_a_new_run_has_control_scores_unless_its_file_says_otherwise(read):
    def control(body, stored=None):
        return read('name = "x"\n' + body).completed_from(stored).scoring.control

    assert control(ENDPOINT) == 0.01
    assert control("[scoring]\ncontrol = 0.0\n" + ENDPOINT) == 0
    assert control("[scoring]\ncontrol = 0.5\n" + ENDPOINT) == 0.5
    assert control(LOOKUP) == 0


def test_a_new_run_without_calls_has_large_shards_unless_its_file_says_otherwise(read):
    def per_shard(body, stored=None):
        return read('name = "x"\n' + body).completed_from(stored).shards.neurons

    assert per_shard(ENDPOINT) == 64
    assert per_shard(LOOKUP) == 256
    assert per_shard("[shards]\nneurons = 64\n" + LOOKUP) == 64
    begun_before = read('name = "x"\n' + LOOKUP)
    assert per_shard(LOOKUP, begun_before) == 64


def test_a_run_goes_on_with_the_control_it_began_with(read):
    began_without, began_with = (
        read(f'name = "x"\n[scoring]\ncontrol = {control}\n{ENDPOINT}') for control in (0.0, 0.2)
    )
    silent = read('name = "x"\n' + ENDPOINT)
    for stored in (began_without, began_with):
        assert silent.completed_from(stored).digest() == stored.digest()
    explicit = began_with.completed_from(began_without)
    assert differences(began_without.frozen(), explicit.frozen()) == [
        "scoring.control: none -> 0.2"
    ]
