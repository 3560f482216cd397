"""The tables of a run's configuration about what asks a language model: explainer and simulator."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neurogloss.config.section import AnswerTokens, Section, Text
from neurogloss.neurons.simulators.answer_forms import FormName


class ExplainerConfig(Section):
    """The explainer.

    `llm` shows records to a model, `token_space` the tokens of highest mean activation. `lookup`
    names these tokens without a call. `stored` takes the explanations of the run in `records.run`.

    Of `candidates` drafts the one is kept that predicts the calibration split best. With `revise`,
    the explainer writes test `sentences` for it, and revises it by the neuron's activations on
    them. Their number is a multiple of 4: half should make the neuron fire, and half of each kind
    is kept for judging the revision.

    An answer may have 60 tokens, or `max_tokens` for a model that thinks before it answers. With
    `prefill` the request has the beginning of the answer, for servers that go on from there.
    """

    kind: Literal["llm", "token_space", "lookup", "stored"] = "llm"
    endpoint: Text = "openai"
    model: Text = "gpt-4o-mini"
    candidates: Annotated[int, Field(ge=1, le=20)] = 1
    revise: bool = False
    sentences: Annotated[int, Field(ge=4, le=40, multiple_of=4)] = 20
    max_tokens: AnswerTokens = None
    # At its default this key is left out, so that runs stored before it keep their hash.
    prefill: Annotated[bool, Field(exclude_if=lambda value: not value)] = False

    @property
    def has_candidates(self) -> bool:
        """Whether a neuron has several candidates for its explanation."""
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
    """The simulator; `auto` chooses its kind by probing the endpoint (`neurogloss.llm.probe`).

    `json` has a chat model write an integer for each token. `chat_logprobs` reads the log
    probabilities of that answer too. `echo_logprobs` reads the log probabilities of a prompt.
    `token_by_token` makes one call for each token. `lookup` makes none. `json` can simulate several
    records of a neuron in one call (`records_per_call`), which is cheaper, but not what the paper
    does.

    `answer_form` is how `json` has a text's activations written: keyed by position, as an array, or
    keyed by position and token.

    An answer may have 8 tokens for each of a text, or `max_tokens` where that is more: for a model
    that thinks before it answers. Answers of one token stay as they are.
    """

    kind: Literal["auto", "json", "chat_logprobs", "echo_logprobs", "token_by_token", "lookup"] = (
        "auto"
    )
    endpoint: Text = "openai"
    model: Text = "gpt-4o-mini"
    records_per_call: Annotated[int, Field(ge=1, le=20)] = 1
    max_tokens: AnswerTokens = None
    # At its default this key is left out, so that runs stored before it keep their hash.
    answer_form: Annotated[FormName, Field(exclude_if=lambda form: form == "positions")] = (
        "positions"
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.records_per_call > 1 and self.kind != "json":
            raise ValueError(f'records_per_call = {self.records_per_call} needs kind = "json"')
        if self.answer_form != "positions" and (self.kind != "json" or self.records_per_call > 1):
            raise ValueError(
                f'answer_form = {self.answer_form!r} needs kind = "json" and records_per_call = 1'
            )
        return self
