"""Handles requests for answers, from bytes to reply: key, limits, credit, faults, account."""

import hmac
import math
from collections.abc import Callable, Mapping
from typing import Final

from rehearsal.account import Account, Stats
from rehearsal.chat import read_chat
from rehearsal.completions import read_completion
from rehearsal.embeddings import read_embeddings
from rehearsal.exchanges import Exchange, RenderedAnswer
from rehearsal.faults import Faults, TransportFault
from rehearsal.options import RehearsalOptions
from rehearsal.prefix_cache import PrefixCache
from rehearsal.rate_limits import RateLimits
from rehearsal.replies import ApiError, Reply, Usage
from rehearsal.seeded_random import draw, uniform

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
RETRY_AFTER_S = 1.0
"""The Retry-After of the fault rate_limit."""
_READERS: Final[Mapping[str, Callable[[bytes, RehearsalOptions], Exchange]]] = {
    CHAT: read_chat,
    COMPLETIONS: read_completion,
    EMBEDDINGS: read_embeddings,
}


class ConnectionDropped(Exception):
    """The connection is to be closed without a reply."""


class RequestHandler:
    """Makes the reply to each request at once; waiting and sending is left to the server."""

    def __init__(self, options: RehearsalOptions) -> None:
        self._options = options
        self._faults = Faults(options.faults, options.seed)
        self._limits = RateLimits(options.requests_per_minute, options.tokens_per_minute)
        self._prefixes = PrefixCache()
        self._account = Account(
            input_price=options.input_price,
            cached_input_price=options.cached_input_price,
            output_price=options.output_price,
        )

    def stats(self) -> Stats:
        return self._account.stats()

    def count_batch(self) -> None:
        self._account.batch()

    def check_key(self, authorization: str) -> None:
        """Check an Authorization header.

        Raises:
            ApiError: 401 if it does not contain the key.
        """
        if self._options.api_key is None:
            return
        # As bytes below, since `compare_digest` raises an error for text that is not ASCII.
        expected = f"Bearer {self._options.api_key}"
        if not hmac.compare_digest(authorization.encode(), expected.encode()):
            raise ApiError(401, "incorrect API key provided", code="invalid_api_key")

    def reply(self, body: bytes, authorization: str, now: float, path: str = CHAT) -> Reply:
        """Return the reply to a request for a completion, or for embeddings.

        Args:
            body: The body of the request, unchanged.
            authorization: The header of that name; empty if there is none.
            now: Seconds of a monotonic clock.
            path: The path of the request: CHAT, COMPLETIONS or EMBEDDINGS.

        Raises:
            ConnectionDropped: The fault `drop` strikes the request.
        """
        self._account.request(now)
        try:
            self.check_key(authorization)
            exchange = self._read(body, path)
        except ApiError as error:
            self._account.rejected(error.status)
            return self._error_reply(error, now)
        try:
            return self._answer(exchange, now)
        except ApiError as error:
            return self._error_reply(error, now)

    def batch_reply(self, body: bytes, path: str) -> Reply:
        """Return the reply to a line of a batch: no limits, no transport faults, half the price."""
        self._account.batch_line()
        try:
            exchange = self._read(body, path)
        except ApiError as error:
            self._account.rejected(error.status)
            return Reply(error.status, error.body())
        try:
            self._refuse_without_credit()
            self._fail_line(exchange.digest)
        except ApiError as error:
            return Reply(error.status, error.body())
        rendered = self._render(exchange)
        usage = self._use(exchange, rendered)
        self._account.answered(exchange.digest, usage, rendered.fault, in_batch=True)
        return Reply(200, rendered.to_json(usage))

    def _read(self, body: bytes, path: str) -> Exchange:
        exchange = _READERS[path](body, self._options)
        most = self._options.context_tokens
        if most is not None and exchange.prompt_tokens > most:
            raise ApiError(
                400,
                f"This model's maximum context length is {most} tokens. However, your messages "
                f"resulted in {exchange.prompt_tokens} tokens.",
                code="context_length_exceeded",
                param="messages",
            )
        return exchange

    def _fail_line(self, digest: bytes) -> None:
        """Raise an ApiError if the line of a batch fails."""
        seed, seen = self._options.seed, self._account.seen(digest)
        if uniform(seed, "line", digest, seen) < self._options.batches.line_failures:
            self._account.failed(digest, "batch_line")
            chance = draw(seed, "status", digest, seen)
            # One failed line in four has status 429: a client has to send both kinds again.
            raise _fault_error("rate_limit_bare" if chance % 4 == 3 else "server_error", chance)

    def _render(self, exchange: Exchange) -> RenderedAnswer:
        replies = self._account.replies(exchange.digest)
        return exchange.render(self._faults.content(exchange.digest, replies))

    def _use(self, exchange: Exchange, rendered: RenderedAnswer) -> Usage:
        cached = self._prefixes.cached_tokens(exchange.model, exchange.prompt)
        return Usage(
            prompt_tokens=exchange.prompt_tokens,
            cached_tokens=min(cached, exchange.prompt_tokens),
            completion_tokens=rendered.completion_tokens,
            reasoning_tokens=rendered.reasoning_tokens,
        )

    def _answer(self, exchange: Exchange, now: float) -> Reply:
        digest = exchange.digest
        # Before the limits, because the tokens of the answer count towards them.
        rendered = self._render(exchange)
        tokens = exchange.prompt_tokens + rendered.completion_tokens
        self._refuse_without_credit()
        self._refuse_over_limit(tokens, now)
        seen = self._account.seen(digest)
        self._fail(digest, seen, now)
        # Only requests that are answered take tokens; refused ones take nothing.
        self._limits.take(tokens, now)
        usage = self._use(exchange, rendered)
        self._account.answered(digest, usage, rendered.fault)
        headers, delay_s = self._limits.headers(now), self._delay(digest, seen)
        return Reply(200, rendered.to_json(usage), headers, delay_s=delay_s)

    def _refuse_without_credit(self) -> None:
        credit = self._options.credit_usd
        if credit is not None and self._account.usd >= credit:
            self._account.refused("credit")
            raise ApiError(
                429,
                "You exceeded your current quota: the credit of this rehearsal is spent",
                type="insufficient_quota",
                code="insufficient_quota",
            )

    def _refuse_over_limit(self, tokens: int, now: float) -> None:
        if wait := self._limits.wait(tokens, now):
            self._account.refused(wait.kind)
            raise ApiError(
                429,
                f"rate limit reached for {wait.kind} per minute, "
                f"try again in {wait.seconds * 1000:.0f} ms",
                type=wait.kind,
                code="rate_limit_exceeded",
                retry_after=wait.seconds,
            )

    def _fail(self, digest: bytes, seen: int, now: float) -> None:
        """Raise ApiError or ConnectionDropped if a transport fault strikes the request."""
        fault = self._faults.transport(digest, seen)
        if fault is None:
            return
        self._account.failed(digest, fault)
        self._limits.take(0, now)  # a request that fails counts towards requests per minute
        if fault == "drop":
            raise ConnectionDropped
        raise _fault_error(fault, draw(self._options.seed, "status", digest, seen))

    def _delay(self, digest: bytes, seen: int) -> float:
        options = self._options
        seconds = options.latency_ms / 1000
        if jitter := options.latency_jitter_ms / 1000:
            seconds += jitter * uniform(options.seed, "latency", digest, seen)
        if self._faults.is_slow(digest, seen):
            self._account.slowed()
            seconds += options.slow_seconds
        return seconds

    def _error_reply(self, error: ApiError, now: float) -> Reply:
        headers = self._limits.headers(now)
        if error.retry_after is not None:
            # Whole seconds, rounded up: a client that obeys is never too early.
            headers["retry-after"] = str(math.ceil(error.retry_after))
            headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
        if error.status == 502:
            page = f"<html><body><h1>502 Bad Gateway</h1>{error.message}</body></html>"
            return Reply(502, page.encode(), headers, content_type="text/html")
        return Reply(error.status, error.body(), headers)


def _fault_error(fault: TransportFault, chance: int) -> ApiError:
    if fault == "server_error":
        status = (500, 502, 503)[chance % 3]
        return ApiError(status, "server error of the rehearsal", type="server_error")
    return ApiError(
        429,
        "rate limit of the rehearsal, without cause",
        type="requests",
        code="rate_limit_exceeded",
        retry_after=RETRY_AFTER_S if fault == "rate_limit" else None,
    )
