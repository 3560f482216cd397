"""The runs of schedules, small and of several kinds."""

from dataclasses import dataclass
from pathlib import Path

from orchestrator.corpus import python_docs
from tests.chaos.mischief import TIMEOUT_S

MOST_IN_FLIGHT = 6
_CONFIG = """
name = "{name}"
[corpus]
source = "{corpus}"
excerpts = 200
[records]
top = {top}
random = 6
[scoring]
top = 2
random = 2
{scoring}
[neurons]
layers = {layers}
per_layer = {neurons}
[shards]
excerpts = 64
neurons = {shard}
[explainer]
endpoint = "here"
model = "rehearsal"
{explainer}
[simulator]
kind = "json"
endpoint = "here"
model = "rehearsal"
[budget]
usd = 1000000000.0
[endpoints.here]
base_url = "{base_url}"
max_in_flight = {in_flight}
tokens_per_minute = 100_000_000
timeout_s = {timeout_s}
{mode}
[endpoints.here.prices.rehearsal]
input = 0.15
output = 0.6
{more}
"""
_EVERY_STAGE = {
    "scoring": 'calibration = ["linear", "percentile"]\ncontrol = 0.5\nalso = ["detection"]',
    "explainer": "candidates = 2\nrevise = true\nsentences = 4",
    "more": '[scorer]\nendpoint = "here"\nmodel = "rehearsal"\n[ablation]\nper_layer = 2',
}
_NO_MORE = {"scoring": "control = 0.0", "explainer": "", "more": ""}
_BATCHES = """
mode = "batch"
[endpoints.here.batches]
max_lines = 8
max_under_way = 16
fill_s = 0.5
poll_s = 0.5
"""


@dataclass(frozen=True)
class Variant:
    """What a run is like beside its size.

    Attributes:
        has_every_stage: Drafts, sentences, revision, both calibrations, ablation.
        is_batched: Its calls go by way of the Batch API.
        is_pooled: A pooler in transaction mode is between its processes and Postgres.
    """

    has_every_stage: bool
    is_batched: bool
    is_pooled: bool

    @classmethod
    def of_seed(cls, seed: int) -> "Variant":
        """Every second run has every stage, two of four are batched, four of eight pooled."""
        return cls(bool(seed & 1), bool(seed & 2), bool(seed & 4))

    @property
    def most_in_flight(self) -> int:
        """How many calls may be in flight; what is in a batch does not end with who asked."""
        return 0 if self.is_batched else MOST_IN_FLIGHT

    def __str__(self) -> str:
        parts = [
            "every stage" if self.has_every_stage else "",
            "batched" if self.is_batched else "",
            "pooled" if self.is_pooled else "",
        ]
        return ", ".join(part for part in parts if part) or "plain"


def config_of(
    name: str,
    corpus: Path,
    base_url: str,
    variant: Variant,
    *,
    layers: tuple[int, ...],
    neurons: int,
    shard: int,
    top: int = 8,
) -> str:
    """Return the configuration of a run, as TOML."""
    extra = _EVERY_STAGE if variant.has_every_stage else _NO_MORE
    return _CONFIG.format(
        name=name,
        corpus=corpus,
        base_url=base_url,
        layers=list(layers),
        neurons=neurons,
        shard=shard,
        top=top,
        in_flight=MOST_IN_FLIGHT,
        timeout_s=TIMEOUT_S,
        mode=_BATCHES if variant.is_batched else "",
        **extra,
    )


def corpus_of(folder: Path, documents: int) -> Path:
    """Write a small corpus once, which is cut in a moment: some of Python's documentation."""
    path = folder / "corpus"
    path.mkdir(exist_ok=True)
    for number, (_, words) in zip(range(documents), python_docs.documents(), strict=False):
        (path / f"{number:04d}.txt").write_text(words, encoding="utf-8")
    return path
