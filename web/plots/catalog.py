"""All plots of a run, by name."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from db import plot_values, runs
from db.calibration_values import calibration as calibration_values
from db.runs import StoredRun
from web.plots.calibration import calibration
from web.plots.course import Course, course
from web.plots.layers import layer_means_of
from web.plots.scores import against_control, against_lookup, by_layer, by_sparsity, histogram
from web.plots.style import Drawing


class Plot(NamedTuple):
    """A plot of a run: how it is drawn, and how its values are loaded."""

    drawing: Drawing
    load: Callable[[Connection, StoredRun], Any]


def _course(connection: Connection, run: StoredRun) -> Course:
    now = datetime.now(UTC)
    width = plot_values.span_of(run, now)
    return Course(
        began=run.created_at,
        ended=run.finished_at or now,
        seconds=width.total_seconds(),
        neurons=runs.count_neurons(connection, run.id),
        budget_usd=run.budget_usd,
        paid=plot_values.paid(connection, run, now, width),
        finished=plot_values.finished(connection, run.id, width),
    )


_ALL = (
    Plot(
        Drawing(
            "scores",
            "Scores",
            "How the scores of all neurons are distributed, with their mean, that of the lookup "
            "baseline (as an outline, for as many neurons), and the mean that the paper published "
            "for GPT-2 XL.",
            histogram,
        ),
        lambda connection, run: plot_values.score_bins(connection, run.id),
    ),
    Plot(
        Drawing(
            "layers",
            "Scores by layer",
            "Mean scores by layer, of explanations and of baselines, beside those of the paper "
            "(dashed; GPT-2 XL, explained and simulated by GPT-4; its 48 layers by depth).",
            by_layer,
        ),
        layer_means_of,
    ),
    Plot(
        Drawing(
            "lookup",
            "Against the lookup baseline",
            "Each neuron's score by the score of a table of its mean activation on each token. A "
            "square is as large as many neurons lie there; above the line the explanation is "
            "better.",
            against_lookup,
            2.3,
        ),
        plot_values.paired_cells,
    ),
    Plot(
        Drawing(
            "control",
            "Against control",
            "The scores of some neurons with their own explanation by those with the explanation "
            "of another neuron of the layer. A square is as large as many neurons lie there. Where "
            "the simulator reads explanations, most lie above the line.",
            against_control,
            3.0,
        ),
        lambda connection, run: plot_values.control_cells(connection, run.id),
    ),
    Plot(
        Drawing(
            "sparsity",
            "By sparsity",
            "Scores by the kurtosis of the neuron's activations, with the number of neurons below.",
            by_sparsity,
            3.0,
        ),
        lambda connection, run: plot_values.sparsity_bins(connection, run.id),
    ),
    Plot(
        Drawing(
            "calibration",
            "Calibration",
            "What activations truly are where a number was simulated, both from 0 to 10, on the "
            "scored records of some neurons of each layer. On the dashed line, they mean "
            "what they say.",
            calibration,
            3.0,
        ),
        calibration_values,
    ),
    Plot(
        Drawing(
            "course",
            "Over time",
            "Dollars paid and neurons finished, by stage, added up since the run was created.",
            course,
        ),
        _course,
    ),
)
PLOTS: Mapping[str, Plot] = {plot.drawing.name: plot for plot in _ALL}
