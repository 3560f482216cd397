"""The table that is printed in the end."""

from collections import defaultdict
from collections.abc import Sequence

from tests.chaos.faults import KINDS
from tests.chaos.outcome import Injected, Outcome


def line(outcome: Outcome, undisturbed_s: float) -> str:
    """Return a line about one schedule, and more where it went wrong."""
    return (
        f"seed {outcome.seed} ({outcome.variant}): {len(outcome.injected)} faults, "
        f"{outcome.seconds:.0f} s ({outcome.seconds - undisturbed_s:+.0f} s), repeated "
        f"{outcome.repeated} of {outcome.may_repeat}, lost {outcome.lost} of {outcome.may_lose}, "
        f"stood still {outcome.stood_still_s:.1f} s, {verdict(outcome)}"
    )


def verdict(outcome: Outcome) -> str:
    """Return whether a run left what it should."""
    return "\n  ".join(["WRONG", *outcome.wrong]) if outcome.wrong else "as it should be"


def table(outcomes: Sequence[Outcome]) -> str:
    """Return what became of the faults, by kind, and the sums over all schedules."""
    by_kind: dict[str, list[tuple[Injected, bool]]] = defaultdict(list)
    for outcome in outcomes:
        for fault in outcome.injected:
            by_kind[fault.kind].append((fault, not outcome.wrong and fault.healed))
    head = ("fault", "injected", "recovered", "s to next result", "most", "calls repeated")
    lines = [f"{head[0]:36}{head[1]:>9}{head[2]:>10}{head[3]:>17}{head[4]:>6}{head[5]:>15}"]
    for kind in KINDS:
        lines += [_row(kind, by_kind[kind])] if by_kind[kind] else []
    lines.append(_row("all", [pair for found in by_kind.values() for pair in found]))
    return "\n".join([*lines, _sums(outcomes)])


def _row(name: str, found: Sequence[tuple[Injected, bool]]) -> str:
    waits = [fault.next_result_s for fault, _ in found if fault.next_result_s is not None] or [0.0]
    recovered = sum(good for _, good in found)
    repeated = sum(fault.repeated for fault, _ in found)
    mean = sum(waits) / len(waits)
    return f"{name:36}{len(found):9}{recovered:10}{mean:17.1f}{max(waits):6.1f}{repeated:15}"


def _sums(outcomes: Sequence[Outcome]) -> str:
    wrong = [outcome for outcome in outcomes if outcome.wrong]
    repeated, lost = sum(o.repeated for o in outcomes), sum(max(0, o.lost) for o in outcomes)
    return (
        f"{len(outcomes)} schedules, {sum(o.seconds for o in outcomes):.0f} s; "
        f"{len(wrong)} of them wrong\n"
        f"calls repeated: {repeated}, of {sum(o.may_repeat for o in outcomes)} "
        "that were in flight in what was struck\n"
        f"paid answers lost: {lost}, of {sum(o.may_lose for o in outcomes)} "
        "that were in flight in what was killed, or that the endpoint spoilt\n"
        f"longest stand-still: {max((o.stood_still_s for o in outcomes), default=0.0):.1f} s"
    )
