"""The plot of calibration: true activations of tokens by simulated ones."""

from matplotlib.figure import Figure

from db.calibration_values import Calibration
from neurogloss.neurons.records import MAX_NORMALIZED
from web.plots.style import COUNTS, Theme, name_line, say


def calibration(figure: Figure, theme: Theme, values: Calibration) -> None:
    """Draw true over simulated activations: means, and the middle half of tokens."""
    if not values.levels:
        say(figure, theme, "No scored neuron has a simulation yet.")
        return
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    x = [each.level for each in values.levels]
    axes.plot(
        [0, MAX_NORMALIZED], [0, MAX_NORMALIZED], color=theme.quiet, linestyle="--", linewidth=1
    )
    name_line(axes, MAX_NORMALIZED, MAX_NORMALIZED, "true as simulated", theme.quiet)
    quartiles = ([getattr(each, q) for each in values.levels] for q in ("quartile_1", "quartile_3"))
    axes.fill_between(x, *quartiles, color=theme.accent, alpha=0.2, linewidth=0)
    means = [each.true for each in values.levels]
    axes.plot(x, means, color=theme.accent, linewidth=1.6, marker="o", markersize=3)
    apart = abs(means[-1] - MAX_NORMALIZED) > 2 or x[-1] < MAX_NORMALIZED
    name_line(axes, x[-1], means[-1], "mean, and the\nmiddle half", theme.accent,
              xytext=(5, 0 if apart else -26))  # fmt: skip
    tokens = [each.tokens for each in values.levels]
    axes.set(ylabel="true, 0 to 10", ylim=(0, MAX_NORMALIZED + 0.3))
    axes.set_title(f"{sum(tokens):,} tokens of scored records of {values.neurons:,} neurons")
    below.bar(x, tokens, 0.8, color=theme.quiet)
    below.set(xlabel="simulated, rounded, 0 to 10", ylabel="tokens", yscale="log", xticks=range(11))
    below.yaxis.set_major_formatter(COUNTS)
