"""Tables and the plot of an accuracy report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.engine_series import series_table
from inferencesim.report.formats import NOTHING, count
from inferencesim.report.plots import PALETTE
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.accuracy import (
        AccuracyReport,
        Comparison,
        ErrorFigures,
        GroupAccuracy,
        NotReproduced,
        Pair,
        Series,
    )
    from inferencesim.results.accuracy import Figure as Quantity

_NAMES: dict[Series, str] = {
    "tpot": "TPOT",
    "ttft": "TTFT",
    "ttft_below_saturation": "TTFT unsaturated",
    "throughput": "throughput",
    "e2e": "E2E",
}
#: The figure that totals lead with.
_SPEED: dict[Series, str] = {"speed": "TPOT, or else rate"}

_PANELS: tuple[tuple[Quantity, str, str], ...] = (
    ("tpot", "TPOT", "s"),
    ("throughput", "Throughput", "per second"),
    ("ttft", "TTFT", "s"),
)
_GREY = "#5A5A5A"
_SHOWN_CHIPS = 4


def accuracy_tables(report: AccuracyReport) -> list[RenderableType]:
    """Return what ``accuracy`` prints: groups, what is not supported, totals, series, and what errors are of."""
    shown = [each for each in report.groups if each.rows]
    parts: list[RenderableType] = [*_group_tables(report, shown)]
    if len(shown) < len(report.groups):
        hidden = len(report.groups) - len(shown)
        parts.append(Text(f"{hidden:,} more groups have no row that can be reproduced."))
    if report.unsupported:
        parts.append(_unsupported_table(report.unsupported))
    total = report.total.model_copy(update={"group": {"source": "all"}})
    parts.append(_error_table("Errors by source", [*report.sources, total], totals=True))
    sets = (report.calibrated, report.step_tables, report.class_priors, report.disaggregated)
    parts.append(_error_table("With and without a calibration", [each for each in sets if each.rows], totals=True))
    if any(row.series for row in report.rows):
        parts.append(series_table(report.rows))
    if report.cross_validated:
        parts.append(_cross_validated_table(report))
    parts.append(_head(report))
    if report.calibrated.rows:
        parts.append(_in_sample())
    return parts


def _head(report: AccuracyReport) -> Text:
    total = report.total
    return Text(
        f"{report.data}: {count(report.rows_read)} rows read; {count(total.rows)} measurements compared, "
        f"{count(total.unsupported)} not supported. Errors are (predicted − measured) / measured."
    )


def _in_sample() -> Text:
    return Text(
        "Shipped calibrations were fitted to public measurements: if these are among them, errors of calibrated rows "
        "are in-sample. Errors on measurements a fit had not seen are those `inferencesim calibrate` stores: "
        "the column `expected`, and the cross-validated table.",
        style="yellow",
    )


def _group_tables(report: AccuracyReport, groups: Sequence[GroupAccuracy]) -> Iterator[Table]:
    """Yield one table per source where groups have one, so that a line needs not repeat it; otherwise one table."""
    columns = [column for column in report.group_by if column != "source"]
    if len(columns) == len(report.group_by) or not columns:
        yield _error_table("Errors by group", groups)
        return
    for source in dict.fromkeys(each.group["source"] for each in groups):
        own = [
            each.model_copy(update={"group": {column: each.group[column] for column in columns}})
            for each in groups
            if each.group["source"] == source
        ]
        yield _error_table(f"Errors by group: {source}", own)


def _error_table(title: str, groups: Sequence[GroupAccuracy], *, totals: bool = False) -> Table:
    """Return a line per group and figure; totals lead with the speed, and say how much is within a factor of two."""
    columns = list(groups[0].group) if groups else []
    factor = ("≤ 2×",) if totals else ()
    table = new_table(
        title, *columns, "expected\nerror", "not\nsupp.", "figure", "rows", "median", "mean", "p90", "bias", *factor,
        "τ", left=len(columns) + 1,
    )  # fmt: skip
    table.columns[len(columns) + 2].justify = "left"
    for column in table.columns:
        column.no_wrap = True
    names = _SPEED | _NAMES if totals else _NAMES
    for each in groups:
        head = (*(value or NOTHING for value in each.group.values()), _expected(each), count(each.unsupported))
        lines = [_line(name, each.errors[series], totals) for series, name in names.items() if series in each.errors]
        for place, line in enumerate(lines or [()]):
            table.add_row(*(head if place == 0 else ("",) * len(head)), *line)
    return table


def _expected(group: GroupAccuracy) -> str:
    if len(group.expected_errors) > 1:
        return "several"
    return group.expected_errors[0].removeprefix("unvalidated: ") if group.expected_errors else NOTHING


def _line(name: str, errors: ErrorFigures, totals: bool) -> tuple[str, ...]:
    tau = NOTHING if errors.tau is None else f"{errors.tau:.2f}"
    absolute = (_per_cent(value) for value in (errors.median, errors.mean, errors.p90))
    factor = (f"{100.0 * errors.within_factor_two:.0f} %",) if totals else ()
    return (name, count(errors.rows), *absolute, f"{100.0 * errors.bias:+.1f} %", *factor, tau)


def _per_cent(value: float) -> str:
    return f"{100.0 * value:.1f} %"


def _unsupported_table(rows: Sequence[NotReproduced]) -> Table:
    table = new_table("Not supported", "source", "reason", "rows", "chips", left=2)
    table.columns[3].justify = "left"
    reasons = Counter((row.source, row.reason) for row in rows)
    for (source, reason), number in sorted(reasons.items(), key=lambda each: (each[0][0], -each[1], each[0][1])):
        chips = Counter(row.hardware for row in rows if (row.source, row.reason) == (source, reason))
        named = [chip for chip, _ in chips.most_common(_SHOWN_CHIPS)]
        more = f" and {len(chips) - len(named)} more" if len(chips) > len(named) else ""
        table.add_row(source, reason, count(number), ", ".join(named) + more)
    return table


def _cross_validated_table(report: AccuracyReport) -> Table:
    table = new_table(
        "Cross-validated errors of the calibrations", "hardware", "engine", "left out", "rows", "TPOT or rate: median",
        "mean", "p90", "TTFT: median", left=3,
    )  # fmt: skip
    for each in report.cross_validated:
        for name, errors in (("random rows", each.unseen_rows), ("one model", each.unseen_models)):
            if errors is not None:
                shares = (errors.tpot_median, errors.tpot_mean, errors.tpot_p90, errors.ttft_median)
                table.add_row(each.hardware, each.engine, name, count(errors.measurements), *map(_per_cent, shares))
    return table


def plot_accuracy(report: AccuracyReport) -> Figure:
    """Plot predicted against measured, one panel per figure: a colour per chip, hollow without a calibration."""
    from matplotlib.figure import Figure

    panels = [panel for panel in _PANELS if any(panel[0] in row.figures for row in report.rows)] or [_PANELS[0]]
    common = Counter(row.hardware for row in report.rows).most_common(len(PALETTE))
    colours = {chip: colour for (chip, _), colour in zip(common, PALETTE, strict=False)}
    figure = Figure(figsize=(5.2 * len(panels) + 0.6, 5.8), layout="constrained")
    for axis, (quantity, name, unit) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axis, report.rows, quantity, colours)
        axis.set_title(name, loc="left", fontsize=11)
        axis.set_xlabel(f"measured ({unit})")
        axis.set_ylabel(f"predicted ({unit})")
    figure.legend(handles=_legend(report.rows, colours), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(
        f"Predicted and measured, {report.total.rows:,} measurements; dotted: a factor of two",
        x=0.01,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    return figure


def _panel(axis: Axes, rows: Sequence[Comparison], quantity: Quantity, colours: dict[str, str]) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#E3E3E3", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=9)
    shown: list[tuple[Pair, Comparison]] = [(row.figures[quantity], row) for row in rows if quantity in row.figures]
    if not shown:
        return
    for hollow in (True, False):
        drawn = [(pair, row) for pair, row in shown if row.priors_only is hollow]
        edges = [colours.get(row.hardware, _GREY) for _, row in drawn]
        axis.scatter(
            [pair.measured for pair, _ in drawn],
            [pair.predicted for pair, _ in drawn],
            s=14,
            linewidths=0.7,
            edgecolors=edges,
            facecolors="none" if hollow else edges,
            alpha=0.75,
        )
    low = min(min(pair.measured, pair.predicted) for pair, _ in shown) / 1.5
    high = max(max(pair.measured, pair.predicted) for pair, _ in shown) * 1.5
    for factor, style in ((1.0, "-"), (0.5, ":"), (2.0, ":")):
        axis.plot([low, high], [factor * low, factor * high], color=_GREY, linewidth=0.9, linestyle=style)
    axis.set_xlim(low, high)
    axis.set_ylim(low, high)
    axis.set_aspect("equal")


def _legend(rows: Sequence[Comparison], colours: dict[str, str]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    def mark(label: str, colour: str, filled: bool) -> Line2D:
        face = colour if filled else "none"
        return Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, markerfacecolor=face, label=label)

    handles = [mark(chip, colour, True) for chip, colour in colours.items()]
    if any(row.hardware not in colours for row in rows):
        handles.append(mark("other chips", _GREY, True))
    if any(row.priors_only for row in rows):
        handles.append(mark("hollow: class priors", _GREY, False))
    return handles
