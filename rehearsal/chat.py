"""Chat completions: from the bytes of a request to those of the answer."""

from dataclasses import dataclass

from rehearsal.answers import answer, with_fault
from rehearsal.chat_logprobs import chat_logprobs
from rehearsal.chat_requests import ChatRequest, count_tokens, read_chat_request
from rehearsal.exchanges import RenderedAnswer
from rehearsal.faults import ContentFault
from rehearsal.options import RehearsalOptions
from rehearsal.replies import AssistantMessage, Usage, completion_body
from rehearsal.seeded_random import uniform


def read_chat(body: bytes, options: RehearsalOptions) -> "ChatExchange":
    """Read a request for a chat completion.

    Raises:
        ApiError: 400 for what this server does not do, 404 for an unknown model.
    """
    request = read_chat_request(body, options.models, options.capabilities)
    good = answer(request, options.seed)
    return ChatExchange(request, good, options.seed, options.reasoning_tokens)


@dataclass(frozen=True, slots=True)
class ChatExchange:
    """A chat request and the good answer to it, which some tokens of reasoning come before."""

    request: ChatRequest
    good: AssistantMessage
    seed: int
    reasoning_tokens: int = 0

    @property
    def digest(self) -> bytes:
        return self.request.digest

    @property
    def model(self) -> str:
        return self.request.model

    @property
    def prompt(self) -> str:
        return self.request.prompt

    @property
    def prompt_tokens(self) -> int:
        return count_tokens(self.request.prompt)

    def render(self, fault: ContentFault | None) -> RenderedAnswer:
        """Return the answer after a fault, if there is one that can apply to it."""
        sent = with_fault(self.good, fault, self.request, self.seed) if fault else self.good
        share = 0.5 + uniform(self.seed, "reasoning", self.digest)
        thought = round(share * self.reasoning_tokens)
        return RenderedAnswer(
            completion_tokens=count_tokens(sent.text) + thought,
            reasoning_tokens=thought,
            # A fault that changed nothing, such as a position added to a text, is not counted as
            # one.
            fault=None if sent == self.good else fault,
            to_json=lambda usage: self._to_json(sent, usage),
        )

    def _to_json(self, sent: AssistantMessage, usage: Usage) -> bytes:
        top = self.request.top_logprobs
        return completion_body(
            request_id=f"chatcmpl-rehearsal-{self.digest.hex()[:24]}",
            model=self.model,
            answer=sent,
            usage=usage,
            logprobs=None
            if top is None
            else chat_logprobs(sent.content or "", top, self.seed, self.digest),
        )
