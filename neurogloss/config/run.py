"""The configuration of a run: the keys of its TOML file, their types, ranges and defaults.

Every key is checked before anything is started. Unknown keys, wrong types and impossible values
are refused with a message that names the key.
"""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neurogloss.config.endpoint import EndpointConfig
from neurogloss.config.language_models import ExplainerConfig, SimulatorConfig
from neurogloss.config.paths import SectionOfFile
from neurogloss.config.scoring import (
    CONTROL_OF_NEW_RUNS,
    AblationConfig,
    ScorerConfig,
    ScoringConfig,
)
from neurogloss.config.section import Name, NotNegative, Positive, Section, Seed, Text
from neurogloss.neurons.splits import RANDOM_SPLITS, TOP_SPLITS
from neurogloss.stages import NEURON_STAGES

MIN_EXCERPT_TOKENS, MAX_EXCERPT_TOKENS = 2, 1024


class SubjectConfig(Section):
    """The subject model: a hub id, a local folder in Hugging Face format, or `demo`.

    With `matmul = "tf32"`, an NVIDIA GPU rounds the factors of float32 products to 10 bits of
    mantissa: five times as fast on an H100, and in between float32 and bfloat16 in precision. Other
    devices have no TF32 and compute in float32.
    """

    model: Text = "demo"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    # At its default this key is left out, so that runs stored before it keep their hash.
    matmul: Annotated[
        Literal["float32", "tf32"], Field(exclude_if=lambda value: value == "float32")
    ] = "float32"


class CorpusConfig(Section):
    """The text that the subject model reads, cut into excerpts.

    `source` is a hub data set, a file or folder of .txt, .jsonl or .parquet, or `python-docs`.
    `short` says what becomes of a document with fewer than `excerpt_tokens` tokens: it is dropped,
    or kept as an excerpt of its own. With `begin_of_text` every document begins with the token
    <|endoftext|>. OpenAI kept short documents, and put that token first.
    """

    source: Text = "python-docs"
    excerpts: Positive = 50_000
    excerpt_tokens: Annotated[int, Field(ge=MIN_EXCERPT_TOKENS, le=MAX_EXCERPT_TOKENS)] = 64
    seed: Seed = 0
    # At their defaults these keys are left out, so that runs stored before them keep their hash.
    short: Annotated[Literal["drop", "keep"], Field(exclude_if=lambda value: value == "drop")] = (
        "drop"
    )
    begin_of_text: Annotated[bool, Field(exclude_if=lambda value: not value)] = False


class RecordsConfig(Section):
    """How many activation records of each kind are kept for each neuron.

    With `run`, the records are copied from that other run, imported or not. Nothing is collected
    then, and corpus and subject model are those of the other run, whatever this one says of them.
    """

    top: Positive = 20
    random: Positive = 20
    per_quantile: NotNegative = 5
    run: Name | None = None


class NeuronsConfig(Section):
    """The neurons to explain: all, those of some layers, or a seeded sample of each layer."""

    layers: Literal["all"] | list[NotNegative] = "all"
    per_layer: Literal["all"] | Positive = "all"


class ConnectionsConfig(Section):
    """How many related neurons and tokens are kept of each sign of their weight; 0 keeps none."""

    neurons: NotNegative = 10
    tokens: NotNegative = 20


class EmbeddingsConfig(Section):
    """The endpoint and model by which `neurogloss embed` makes explanations searchable by meaning.

    Without a `model`, the command is told one. `dimensions` is for models that have a choice; 4000
    are the most that can be searched.
    """

    endpoint: Text = "openai"
    model: Text | None = None
    dimensions: Annotated[int, Field(ge=1, le=4000)] | None = None


class BudgetConfig(Section):
    """The amount that the run may spend; the run pauses when it is reached."""

    usd: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] | None = None


# In the shard of a new run that calls no model: claims and commits of shards of 64 would be a third
# of its work.
UNCALLED_NEURONS = 256


class ShardsConfig(Section):
    """The size of shards: of excerpts to read, and of neurons of a layer.

    A file that leaves `neurons` out gives a new run that calls no model, such as one of `lookup`,
    256 in a shard, and any other 64; a run that was begun keeps its number.

    Token lookup tables take 8 bytes for each neuron and token of the vocabulary while they are
    made. `lookup_mib` is how many MiB of that a shard may take: it has as many layers as fit, and
    one at least.
    """

    excerpts: Positive = 512
    neurons: Positive = 64
    # At its default this key is left out, so that runs stored before it keep their hash.
    lookup_mib: Annotated[Positive, Field(exclude_if=lambda value: value == 1024)] = 1024


class RunConfig(SectionOfFile):
    """The whole configuration of a run."""

    name: Name
    subject: SubjectConfig = SubjectConfig()
    corpus: CorpusConfig = CorpusConfig()
    records: RecordsConfig = RecordsConfig()
    neurons: NeuronsConfig = NeuronsConfig()
    explainer: ExplainerConfig = ExplainerConfig()
    simulator: SimulatorConfig = SimulatorConfig()
    scoring: ScoringConfig = ScoringConfig()
    scorer: ScorerConfig = ScorerConfig()
    ablation: AblationConfig = AblationConfig()
    connections: ConnectionsConfig = ConnectionsConfig()
    endpoints: dict[Text, EndpointConfig] = Field(default_factory=dict)
    # At its default this table is left out, so that runs stored before it look the same.
    embeddings: Annotated[
        EmbeddingsConfig, Field(exclude_if=lambda value: value == EmbeddingsConfig())
    ] = EmbeddingsConfig()
    budget: BudgetConfig = BudgetConfig()
    shards: ShardsConfig = ShardsConfig()

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        # What spans several tables is checked here, what concerns one table in its own class.
        for kind, splits in (("top", TOP_SPLITS), ("random", RANDOM_SPLITS)):
            n_scored, n_kept = getattr(self.scoring, kind), getattr(self.records, kind)
            if n_scored * len(splits) > n_kept:
                raise ValueError(
                    f"scoring.{kind} = {n_scored} needs records.{kind} = {n_scored * len(splits)} "
                    f"or more, because the records are dealt to {len(splits)} splits; it is "
                    f"{n_kept}"
                )
        n_needed = self.records.top + self.records.random
        if self.corpus.excerpts < n_needed:
            raise ValueError(
                f"corpus.excerpts = {self.corpus.excerpts} is too few: records.top = "
                f"{self.records.top} and records.random = {self.records.random} need {n_needed}"
            )
        if self.records.run is None and self.explainer.kind == "stored":
            raise ValueError('explainer.kind = "stored" needs records.run = the run that has them')
        if self.records.run is not None and self.needs_lookup:
            raise ValueError("lookup and token_space need the subject model; records.run has none")
        if self.records.run is not None and (self.explainer.revise or self.ablation.is_wanted):
            raise ValueError("revise and ablation need the subject model; records.run has none")
        if self.ablation.is_wanted and "linear" not in self.scoring.calibration:
            raise ValueError(
                "ablation puts simulations in the place of activations, for which they have to be "
                'calibrated: add "linear" to scoring.calibration'
            )
        if self.scoring.control and self.simulator.kind == "lookup":
            raise ValueError('scoring.control: simulator.kind = "lookup" reads no explanation')
        if self.explainer.has_candidates and self.simulator.kind == "lookup":
            raise ValueError(
                'simulator.kind = "lookup" reads no explanation, so it cannot judge candidates: '
                "leave out explainer.candidates and explainer.revise, or choose another kind"
            )
        for role in [*self.calling, *(["embeddings"] if self.embeddings.model else [])]:
            part = getattr(self, role)
            if part.endpoint not in self.endpoints:
                defined = ", ".join(sorted(self.endpoints)) or "none"
                raise ValueError(
                    f"{role}.endpoint = {part.endpoint!r} is not defined: add a table "
                    f"[endpoints.{part.endpoint}] (there: {defined})"
                )
        return self

    def completed_from(self, stored: "RunConfig | None") -> "RunConfig":
        """Return the configuration with a value for each key whose default depends on the run.

        These are `scoring.control` and `shards.neurons`, where the run's file gives none.

        Args:
            stored: The configuration of the run as it was begun; None if the run is new.
        """
        scoring, shards = self.scoring, self.shards
        if "control" not in scoring.model_fields_set:
            control = self._control_when_new() if stored is None else stored.scoring.control
            scoring = scoring.model_copy(update={"control": control})
        if "neurons" not in shards.model_fields_set:
            n = self._per_shard_when_new() if stored is None else stored.shards.neurons
            shards = shards.model_copy(update={"neurons": n})
        return self.model_copy(update={"scoring": scoring, "shards": shards})

    def _control_when_new(self) -> float:
        # A lookup table reads no explanation, so that another one changes nothing.
        return 0.0 if self.simulator.kind == "lookup" else CONTROL_OF_NEW_RUNS

    def _per_shard_when_new(self) -> int:
        return self.shards.neurons if self.calling else UNCALLED_NEURONS

    @property
    def calling(self) -> list[Literal["explainer", "simulator", "scorer"]]:
        """The tables whose part makes calls in this run."""
        roles: list[Literal["explainer", "simulator", "scorer"]] = []
        roles += ["explainer"] if self.explainer.kind in ("llm", "token_space") else []
        roles += ["simulator"] if self.simulator.kind != "lookup" else []
        return roles + (["scorer"] if self.scoring.also else [])

    @property
    def needs_lookup(self) -> bool:
        """Whether the explainer or the simulator needs the token lookup tables."""
        return self.explainer.kind in ("token_space", "lookup") or self.simulator.kind == "lookup"

    @property
    def neuron_stages(self) -> list[str]:
        """The stages that the run's neurons go through, in order."""
        is_optional_stage_on = {
            "choose": self.explainer.candidates > 1,
            **dict.fromkeys(("illustrate", "observe", "revise"), self.explainer.revise),
            "ablate": self.ablation.is_wanted,
            "control": self.scoring.control > 0,
        }
        return [stage for stage in NEURON_STAGES if is_optional_stage_on.get(stage, True)]

    def frozen(self) -> dict[str, object]:
        """Return the values that identify the run: all but limits, prices, budget, embeddings."""
        # Keys that are left out count with their defaults. So a stored configuration from before a
        # key existed has to be validated again before it is compared.
        values = self.model_dump(mode="json")
        values.pop("budget")
        values.pop("embeddings", None)
        values["endpoints"] = {
            name: {"base_url": endpoint["base_url"]}
            for name, endpoint in values["endpoints"].items()
        }
        return values

    def digest(self) -> str:
        """Return the SHA-256 of the values that identify the run, in hexadecimal."""
        text = json.dumps(self.frozen(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
