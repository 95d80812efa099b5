"""Table and plot of what engines told of themselves over time, beside their simulations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.errors import InputError
from inferencesim.report.formats import NOTHING, count
from inferencesim.report.plots import PALETTE
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

    from inferencesim.measurements.engine_series import SeriesName
    from inferencesim.results.accuracy import Comparison, SeriesComparison

#: What a series is called, and what its values are multiplied by.
_NAMES: dict[SeriesName, tuple[str, float]] = {
    "running": ("requests running", 1.0),
    "waiting": ("requests waiting", 1.0),
    "preempted": ("… of them preempted", 1.0),
    "kv_usage": ("KV blocks held, %", 100.0),
}
_RECORDED = "#3A3A3A"


def series_table(rows: Sequence[Comparison]) -> Table:
    """Return a line per recorded series, with its errors as shares of the largest recorded value."""
    table = new_table(
        "Series of replayed traces, errors in % of the largest recorded value",
        "trace", "series", "moments", "largest", "mean\nerror", "largest\nerror", "preemptions\n(simulated)", left=2,
    )  # fmt: skip
    for row in rows:
        for place, each in enumerate(row.series):
            name, factor = _NAMES[each.name]
            table.add_row(
                "" if place else row.id,
                name,
                count(len(each.moments_s)),
                f"{factor * max(each.measured):,.0f}",
                f"{100.0 * each.mean_error:.1f} %",
                f"{100.0 * each.largest_error:.1f} %",
                "" if place else NOTHING if row.preemptions is None else count(row.preemptions),
            )
    return table


def plot_series(rows: Sequence[Comparison]) -> Figure:
    """Plot every recorded series with its simulation, one row of panels per trace.

    Raises
    ------
    InputError
        If no row has any.
    """
    from matplotlib.figure import Figure

    shown = [row for row in rows if row.series]
    if not shown:
        raise InputError(
            "--plot-series",
            "none of these measurements has a series over time",
            "Request traces with a timeseries.csv have: --data ../shared/measurements.",
        )
    columns = max(len(row.series) for row in shown)
    figure = Figure(figsize=(4.4 * columns, 3.3 * len(shown) + 0.5), layout="constrained")
    for axes, row in zip(figure.subplots(len(shown), columns, squeeze=False), shown, strict=True):
        for axis, each in zip(axes, row.series, strict=False):
            _panel(axis, each)
        for axis in axes[len(row.series) :]:
            axis.set_visible(False)
        axes[0].annotate(
            row.id, (0.0, 1.14), xycoords="axes fraction", fontsize=11, fontweight="bold", annotation_clip=False
        )
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=10)
    return figure


def _panel(axis: Axes, series: SeriesComparison) -> None:
    name, factor = _NAMES[series.name]
    lines = (("recorded", series.measured, _RECORDED, 1.0), ("simulated", series.predicted, PALETTE[0], 1.5))
    for label, values, colour, width in lines:
        axis.plot(series.moments_s, [factor * value for value in values], color=colour, linewidth=width, label=label)
    axis.set_title(f"{name} (mean error {100.0 * series.mean_error:.1f} %)", loc="left", fontsize=10)
    axis.set_xlabel("s", fontsize=9)
    axis.set_ylim(bottom=0.0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#E3E3E3", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, labelsize=9)
