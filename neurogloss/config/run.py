"""The frozen configuration of a run: what its TOML file may say, and the defaults.

Every key is checked here, by name, before anything is started. Unknown keys, wrong types and
impossible values are refused.
"""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neurogloss.config.endpoint import EndpointConfig
from neurogloss.config.section import Name, NotNegative, Positive, Section, Seed, Text
from neurogloss.neurons.splits import RANDOM_SPLITS, TOP_SPLITS
from neurogloss.stages import NEURON_STAGES

NeuronIndex = Annotated[list[NotNegative], Field(min_length=2, max_length=2)]  # [layer, neuron]


class SubjectConfig(Section):
    """What is explained: a hub id, a local folder in Hugging Face format, or `demo`."""

    model: Text = "demo"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


class CorpusConfig(Section):
    """What the subject reads: a hub data set, a file or folder of .txt / .jsonl, `python-docs`."""

    source: Text = "python-docs"
    excerpts: Positive = 50_000
    excerpt_tokens: Annotated[int, Field(ge=2, le=1024)] = 64
    seed: Seed = 0


class RecordsConfig(Section):
    """What is kept for each neuron.

    With `run`, the records are those of another run, imported or not, which reads the same corpus
    with the same subject model: nothing is collected, and what is said of these does not count.
    """

    top: Positive = 20
    random: Positive = 20
    per_quantile: NotNegative = 5
    run: Name | None = None


class NeuronsConfig(Section):
    """Which neurons: all, or some layers, or a seeded sample of each layer."""

    layers: Literal["all"] | list[NotNegative] = "all"
    per_layer: Literal["all"] | Positive = "all"


class ExplainerConfig(Section):
    """Who explains. `llm` is shown records, `token_space` the tokens of highest mean activation.

    `lookup` names these tokens, without any call. `stored` takes the explanations of the run that
    the records are from.

    Of so many `candidates` the one is kept that predicts the calibration split best. With `revise`,
    it is tried on `sentences` that the explainer writes for it, and revised by what they show.
    """

    kind: Literal["llm", "token_space", "lookup", "stored"] = "llm"
    endpoint: Text = "openai"
    model: Text = "gpt-4o-mini"
    candidates: Annotated[int, Field(ge=1, le=20)] = 1
    revise: bool = False
    sentences: Annotated[int, Field(ge=4, le=40, multiple_of=4)] = 20

    @property
    def has_candidates(self) -> bool:
        """Whether a neuron's explanation is one of several."""
        return self.candidates > 1 or self.revise

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.has_candidates and self.kind not in ("llm", "token_space"):
            raise ValueError(
                f"kind = {self.kind!r} writes one explanation: candidates and revise need a kind "
                "that asks a model, llm or token_space"
            )
        return self


class SimulatorConfig(Section):
    """Who simulates, and how it is asked; for `auto`, see `neurogloss.llm.probe`.

    `json` has a chat model write an integer for each token. `chat_logprobs` reads what else it
    could have written. `echo_logprobs` reads the log probabilities of a prompt. `token_by_token`
    makes one call for each token. `lookup` makes none. `json` can ask for several records of a
    neuron in one call: that is cheaper, and not what the paper does.
    """

    kind: Literal["auto", "json", "chat_logprobs", "echo_logprobs", "token_by_token", "lookup"] = (
        "auto"
    )
    endpoint: Text = "openai"
    model: Text = "gpt-4o-mini"
    records_per_call: Annotated[int, Field(ge=1, le=20)] = 1

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.records_per_call > 1 and self.kind != "json":
            raise ValueError(f'records_per_call = {self.records_per_call} needs kind = "json"')
        return self


class ScoringConfig(Section):
    """How many records of the valid split are simulated and scored.

    `calibration` names ways to bring simulations to the scale of the activations, by simulating as
    many records of the calibration split. `also` names further scorers, which make a call for each
    neuron: see `ScorerConfig`.
    `baselines` says whether predictions that need no call are scored on them too. On the way, the
    corpus is read once more, or, where a layer has many neurons, a few times more.
    """

    top: Positive = 5
    random: Positive = 5
    baselines: bool = True
    calibration: list[Literal["linear", "percentile"]] = Field(default_factory=list)
    also: list[Literal["detection", "fuzzing"]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        for name, kind in (("calibration", "way"), ("also", "scorer")):
            found = getattr(self, name)
            if len(set(found)) < len(found):
                raise ValueError(f"{name} = {found} names a {kind} twice")
        return self


class ScorerConfig(Section):
    """Who is asked by the scorers of `scoring.also`.

    With `top_logprobs`, how sure it is counts too, and there is an area under the ROC curve.
    """

    endpoint: Text = "openai"
    model: Text = "gpt-4o-mini"
    top_logprobs: Annotated[int, Field(ge=2, le=20)] | None = None


class AblationConfig(Section):
    """Which neurons are ablated after they are scored: some by name, a sample of each layer, none.

    `neurons` are [layer, neuron], `per_layer` is a seeded sample of so many. It takes passes of the
    subject model for each of them, and simulations with a linear calibration.
    """

    neurons: list[NeuronIndex] = Field(default_factory=list)
    per_layer: NotNegative = 0

    @property
    def is_wanted(self) -> bool:
        """Whether any neuron is ablated."""
        return bool(self.neurons) or self.per_layer > 0


class ConnectionsConfig(Section):
    """How many related neurons and tokens by weight are kept of each sign; 0 is none."""

    neurons: NotNegative = 10
    tokens: NotNegative = 20


class BudgetConfig(Section):
    """What the run may spend; it pauses when the amount is reached."""

    usd: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] | None = None


class ShardsConfig(Section):
    """How much one task does: excerpts read at a time, and neurons of a layer."""

    excerpts: Positive = 512
    neurons: Positive = 64


class RunConfig(Section):
    """One run, whole."""

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
    budget: BudgetConfig = BudgetConfig()
    shards: ShardsConfig = ShardsConfig()

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        for kind, splits in (("top", TOP_SPLITS), ("random", RANDOM_SPLITS)):
            wanted, kept = getattr(self.scoring, kind), getattr(self.records, kind)
            if wanted * len(splits) > kept:
                raise ValueError(
                    f"scoring.{kind} = {wanted} needs records.{kind} = {wanted * len(splits)} or "
                    f"more, because the records are dealt to {len(splits)} splits; it is {kept}"
                )
        least = self.records.top + self.records.random
        if self.corpus.excerpts < least:
            raise ValueError(
                f"corpus.excerpts = {self.corpus.excerpts} is too few: records.top = "
                f"{self.records.top} and records.random = {self.records.random} need {least}"
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
        if self.explainer.has_candidates and self.simulator.kind == "lookup":
            raise ValueError(
                'simulator.kind = "lookup" reads no explanation, so it cannot judge candidates: '
                "leave out explainer.candidates and explainer.revise, or choose another kind"
            )
        for role in self.calling:
            part = getattr(self, role)
            if part.endpoint not in self.endpoints:
                known = ", ".join(sorted(self.endpoints)) or "none"
                raise ValueError(
                    f"{role}.endpoint = {part.endpoint!r} is not defined: add a table "
                    f"[endpoints.{part.endpoint}] (there: {known})"
                )
        return self

    @property
    def calling(self) -> list[Literal["explainer", "simulator", "scorer"]]:
        """The parts that make calls, by the names of their tables."""
        roles: list[Literal["explainer", "simulator", "scorer"]] = []
        roles += ["explainer"] if self.explainer.kind in ("llm", "token_space") else []
        roles += ["simulator"] if self.simulator.kind != "lookup" else []
        return roles + (["scorer"] if self.scoring.also else [])

    @property
    def needs_lookup(self) -> bool:
        """Whether anyone in the run reads the token lookup tables."""
        return self.explainer.kind in ("token_space", "lookup") or self.simulator.kind == "lookup"

    @property
    def neuron_stages(self) -> list[str]:
        """The stages that the run's neurons go through, in order."""
        asked_for = {
            "choose": self.explainer.candidates > 1,
            **dict.fromkeys(("illustrate", "observe", "revise"), self.explainer.revise),
            "ablate": self.ablation.is_wanted,
        }
        return [stage for stage in NEURON_STAGES if asked_for.get(stage, True)]

    def frozen(self) -> dict[str, object]:
        """Return what identifies the run: all but limits and budget, which may change."""
        values = self.model_dump(mode="json")
        values.pop("budget")
        values["endpoints"] = {
            name: {"base_url": endpoint["base_url"]}
            for name, endpoint in values["endpoints"].items()
        }
        return values

    def digest(self) -> str:
        """Return a hash of what identifies the run."""
        text = json.dumps(self.frozen(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
