"""The tables of a run's configuration that say how its explanations are scored."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neurogloss.config.section import AnswerTokens, NotNegative, Positive, Section, Share, Text

NeuronIndex = Annotated[list[NotNegative], Field(min_length=2, max_length=2)]  # [layer, neuron]

CONTROL_OF_NEW_RUNS = 0.01  # where the file of a run leaves `control` out


class ScoringConfig(Section):
    """Scoring: how many records of the valid split are simulated, and which scores are computed.

    `baselines` scores predictions that need no call on the same records. For them the corpus is
    read once more, or several times if the sums of all layers do not fit into memory.
    `calibration` names the kinds of calibration after which simulations are scored as well; as many
    records of the calibration split are simulated for it. `also` names scorers that make a further
    call for each neuron: see `ScorerConfig`.

    `control` is the share of neurons whose scored records are simulated once more, from the
    explanation of another neuron: where the simulator reads explanations, that scores much less. At
    least 30 neurons are drawn, or all if there are fewer; with 0 there is no control. A file that
    leaves the key out means 0.01 for a new run, unless its simulator is the lookup table; a run
    that began without control goes on without.
    """

    top: Positive = 5
    random: Positive = 5
    baselines: bool = True
    calibration: list[Literal["linear", "percentile"]] = Field(default_factory=list)
    also: list[Literal["detection", "fuzzing"]] = Field(default_factory=list)
    control: Share = 0.0

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        for key, kind in (("calibration", "way"), ("also", "scorer")):
            names = getattr(self, key)
            if len(set(names)) < len(names):
                raise ValueError(f"{key} = {names} names a {kind} twice")
        return self


class ScorerConfig(Section):
    """The endpoint and model of the scorers in `scoring.also`.

    With `top_logprobs`, log probabilities are asked for as well, from which the area under the ROC
    curve is computed. `max_tokens` is as in `SimulatorConfig`.
    """

    endpoint: Text = "openai"
    model: Text = "gpt-4o-mini"
    top_logprobs: Annotated[int, Field(ge=2, le=20)] | None = None
    max_tokens: AnswerTokens = None


class AblationConfig(Section):
    """The neurons to ablate after they are scored; none by default.

    `neurons` lists [layer, neuron], `per_layer` is the size of a seeded sample of each layer. Each
    neuron takes forward passes of the subject model, and needs a linear calibration.
    """

    neurons: list[NeuronIndex] = Field(default_factory=list)
    per_layer: NotNegative = 0

    @property
    def is_wanted(self) -> bool:
        """Whether the run ablates any neuron."""
        return bool(self.neurons) or self.per_layer > 0
