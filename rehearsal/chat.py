"""Chat completions: from the bytes of a request to those of the answer."""

from dataclasses import dataclass

from rehearsal.answers import answer, spoilt
from rehearsal.exchanges import Spoken
from rehearsal.faults import ContentFault
from rehearsal.logprobs import logprobs_of
from rehearsal.options import RehearsalOptions
from rehearsal.questions import Question, count_tokens, read_question
from rehearsal.replies import Answer, Usage, completion_body


def read_chat(body: bytes, options: RehearsalOptions) -> "ChatExchange":
    """Read a request for a chat completion.

    Raises:
        ApiError: 400 for what this server does not do, 404 for an unknown model.
    """
    question = read_question(body, options.models, options.capabilities)
    return ChatExchange(question, answer(question, options.seed), options.seed)


@dataclass(frozen=True, slots=True)
class ChatExchange:
    """A question to a chat model, with the answer that it gets if nothing goes wrong."""

    question: Question
    good: Answer
    seed: int

    @property
    def digest(self) -> bytes:
        return self.question.digest

    @property
    def model(self) -> str:
        return self.question.model

    @property
    def prompt(self) -> str:
        return self.question.prompt

    @property
    def prompt_tokens(self) -> int:
        return count_tokens(self.question.prompt)

    def speak(self, fault: ContentFault | None) -> Spoken:
        """Answer, spoilt by a fault if there is one that can strike this answer."""
        said = spoilt(self.good, fault, self.question, self.seed) if fault else self.good
        return Spoken(
            completion_tokens=count_tokens(said.text),
            fault=None if said == self.good else fault,
            to_json=lambda usage: self._to_json(said, usage),
        )

    def _to_json(self, said: Answer, usage: Usage) -> bytes:
        top = self.question.top_logprobs
        return completion_body(
            request_id=f"chatcmpl-rehearsal-{self.digest.hex()[:24]}",
            model=self.model,
            answer=said,
            usage=usage,
            logprobs=None
            if top is None
            else logprobs_of(said.content or "", top, self.seed, self.digest),
        )
