"""Which components bring a token about. Explanations and tokens are untrusted: no markup."""

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from db.text_results import Component, NeuronEffects, TextResult, TokenLogit
from db.texts import TextRequest
from neurogloss.neurons.grouping import group_by_words
from orchestrator.cli.terminal.plain import number, plain
from orchestrator.cli.terminal.whole_table import WholeTable

RESTS = 8  # components that are no neurons, in the table of the largest
_NAMES = {
    "explained": "explained neurons",
    "unexplained": "other neurons",
    "head": "attention heads",
    "embedding": "embeddings",
    "bias": "biases",
}


def text_page(request: TextRequest, result: TextResult, top: int) -> Group:
    """Return what brings about the token: neurons by group, sums, and the largest of the rest."""
    neurons = result.neurons[: top or None]
    return Group(
        *_heading(request, result),
        _neurons_table(result, neurons, request.baseline),
        _sums_table(result),
        _rest_table(result),
        *_ends(request, result),
    )


def _heading(request: TextRequest, result: TextResult) -> Iterator[Text]:
    yield Text(f"text {request.id} on run {plain(request.run)}: {len(result.tokens)} tokens")
    yield Text(" ".join(f"{place}{plain(repr(t))}" for place, t in _last_tokens(result)))
    against = "the mean of all tokens" if result.versus is None else _token(result.versus)
    yield Text(
        f"next token {_token(result.target)}, against {against}: "
        f"logit difference {result.logit_difference:.3f}",
        style="bold",
    )


def _last_tokens(result: TextResult, n: int = 12) -> Iterator[tuple[str, str]]:
    """Yield the last tokens, each with its position as it is put before it."""
    first = max(0, len(result.tokens) - n)
    for position, token in enumerate(result.tokens[first:], first):
        yield f"{position}:", token


def _token(token: TokenLogit) -> str:
    return f"{plain(repr(token.text))} (logit {token.logit:.3f}, {token.probability:.2%})"


def _neurons_table(
    result: TextResult, neurons: Sequence[NeuronEffects], baseline: str
) -> WholeTable:
    """Return the neurons, by what their explanations have in common."""
    table = WholeTable(
        f"neurons by estimated effect, baseline {baseline}",
        texts=("common word",),
        numbers=("neuron", "estimated", "direct", "activation", "quantile", "peak", "score"),
    )
    table.add_column("explanation", overflow="fold")
    groups = group_by_words(
        [neuron.explanation for neuron in neurons], [neuron.effect for neuron in neurons]
    )
    for group in groups:
        for row, place in enumerate(group.members):
            word = Text(plain(group.word or "(none)") if row == 0 else "")
            table.add_row(word, *_neuron_cells(result, neurons[place]))
    return table


def _neuron_cells(result: TextResult, neuron: NeuronEffects) -> list[str | Text]:
    peak = f"{neuron.peak}:{plain(repr(result.tokens[neuron.peak]))}"
    return [
        f"{neuron.layer}:{neuron.neuron}",
        _signed(neuron.estimated_effect),
        _signed(neuron.direct_effect),
        number(neuron.activation),
        number(neuron.quantile),
        Text(peak),
        number(neuron.score),
        Text(plain(neuron.explanation or "(none)")),
    ]


def _sums_table(result: TextResult) -> WholeTable:
    table = WholeTable(
        "direct effects",
        texts=("components",),
        numbers=("sum", "of the difference", "absolute"),
    )
    for total in result.sums:
        share = total.direct_effect / result.logit_difference if result.logit_difference else None
        name = _NAMES.get(total.group, total.group)
        table.add_row(name, _signed(total.direct_effect), _share(share), number(total.absolute))
    whole = sum(total.absolute for total in result.sums)
    table.add_row("all", _signed(result.logit_difference), _share(1.0), number(whole))
    return table


def _rest_table(result: TextResult) -> WholeTable:
    """Return the largest components that no explanation accounts for."""
    table = WholeTable(
        "largest without an explanation", texts=("component",), numbers=("direct", "estimated")
    )
    others = [c for c in result.components if c.kind not in ("neuron", "neuron_rest")]
    others.sort(key=lambda component: abs(component.direct_effect), reverse=True)
    for component in others[:RESTS]:
        effects = (component.direct_effect, component.estimated_effect)
        table.add_row(_name_of(component), *map(_signed, effects))
    return table


def _name_of(component: Component) -> str:
    if component.kind == "mlp_rest":
        return f"other neurons of layer {component.layer}"
    if component.kind == "head":
        return f"head {component.layer}:{component.index}"
    place = "" if component.layer is None else f" of layer {component.layer}"
    return f"{component.kind} {component.index}{place}".replace("_", " ")


def _ends(request: TextRequest, result: TextResult) -> Iterator[Text]:
    explained = result.sum_of("explained")
    whole = sum(total.absolute for total in result.sums)
    yield Text(
        f"explained neurons account for {_share(result.accounted_by_explained)} of the logit "
        f"difference, {_signed(explained.direct_effect)} of {result.logit_difference:.3f}, and "
        f"for {_share(explained.absolute / whole if whole else None)} of all absolute effects"
    )
    if result.ablation is not None:
        after = result.ablation
        yield Text(
            f"with {len(request.ablate)} neurons at their {request.baseline}: logit difference "
            f"{result.logit_difference:.3f} -> {after.logit_difference:.3f}, probability "
            f"{result.target.probability:.2%} -> {after.probability:.2%}"
        )


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
