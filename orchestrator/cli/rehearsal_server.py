"""How the command `rehearsal-server` is called."""

from collections.abc import Callable
from typing import Any

import click

from orchestrator.cli.actions import action
from rehearsal.capabilities import FEATURES, MOST_LOGPROBS
from rehearsal.faults import FaultRates
from rehearsal.options import BatchOptions, RehearsalOptions

_DEFAULTS = RehearsalOptions()


class _Fault(click.ParamType[tuple[str, float]]):
    """Reads `KIND=RATE`."""

    name = "KIND=RATE"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, float]:
        """Return the kind and its rate."""
        kind, _, rate = str(value).partition("=")
        try:
            FaultRates.named([(kind, number := float(rate or "nan"))])
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        return kind, number


def _option(name: str, default: Any, text: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(name, default=default, show_default=True, help=text, **more)


@click.command(name="rehearsal-server")
@_option("--host", _DEFAULTS.host, "Address to listen on.")
@_option("--port", 8100, "Port to listen on; 0 is any free port.", type=click.IntRange(0, 65_535))
@_option("--seed", 0, "Seed of the answers and faults.")
@_option("--model", ("rehearsal",), "Name of a model to serve.", multiple=True, type=str)
@_option("--any-model", False, "Serve any name of a model.", is_flag=True)
@_option("--latency-ms", 0.0, "Time until an answer, in ms.")
@_option("--latency-jitter-ms", 0.0, "Random additional time, at most, in ms.")
@_option("--requests-per-minute", None, "Answer 429 above this rate.", type=int)
@_option("--tokens-per-minute", None, "Answer 429 above this rate.", type=int)
@_option("--credit-usd", None, "Answer insufficient_quota after this much.", type=float)
@_option("--input-price", _DEFAULTS.input_price, "USD per million tokens.")
@_option("--cached-input-price", _DEFAULTS.cached_input_price, "USD per million tokens.")
@_option("--output-price", _DEFAULTS.output_price, "USD per million tokens.")
@click.option(
    "--fault",
    "faults",
    type=_Fault(),
    multiple=True,
    help="Share of requests that a fault hits, such as server_error=0.05; kinds are above.",
)
@_option("--slow-seconds", _DEFAULTS.slow_seconds, "Seconds that the fault `slow` adds.")
@click.option(
    "--without",
    type=click.Choice(FEATURES),
    multiple=True,
    help="Refuse this feature with status 400.",
)
@_option("--reasoning", False, "Accept only the parameters of reasoning models.", is_flag=True)
@_option("--reasoning-tokens", 0, "Tokens to charge for thought before each answer, about.")
@_option("--max-logprobs", MOST_LOGPROBS, "Largest accepted top_logprobs.")
@_option("--batch-seconds", BatchOptions().seconds, "Time until a batch ends, in seconds.")
@_option("--batch-expiries", 0, "The first N batches expire when half done.")
@_option("--batch-line-failures", 0.0, "Share of the lines of a batch that fail.")
@_option("--batch-enqueued-tokens", None, "Fail batches above this limit.", type=int)
def rehearsal_server(**given: Any) -> None:
    """Serve a stand-in for an LLM API that costs nothing, to rehearse a run on.

    It is no language model: its answers are made up, the same ones for the same questions. A key is
    asked for if REHEARSAL_API_KEY is set.

    Faults: rate_limit and rate_limit_bare (429 with and without Retry-After), server_error, drop
    and slow; then answers of no use: malformed, truncated, refusal, empty, position_missing and
    position_added.
    """
    action("rehearsal_server")(**given)
