"""What ``curves`` shows: the curve, what has changed, and both as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.comparison import metric_name, written
from inferencesim.report.formats import NOTHING, share
from inferencesim.report.plots import PALETTE
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Picture
    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.curve import RecordedCurve
    from inferencesim.results.curve_check import CurveCheck, CurveDifference

_STYLES = {"worse": "bold red", "missing": "bold red", "better": "bold green", "higher": "bold", "lower": "bold"}


def curve_parts(curve: RecordedCurve) -> list[RenderableType]:
    """Return the table of a recorded curve."""
    title = f"{curve.placement} / {curve.balancing} on {curve.scenario}: means of {curve.replications} replications"
    table = new_table(f"{title} ± 95 %", "load", *(metric_name(metric) for metric in curve.limits), "verdicts")
    for point in curve.points:
        cells = [
            f"{written(metric, point.figures[metric].mean)} ± {written(metric, _half(point.figures[metric].interval))}"
            for metric in curve.limits
        ]
        states = ", ".join(f"{state} {runs}×" for state, runs in point.states.items())
        table.add_row(f"{point.load:g}", *cells, states)
    return [table]


def check_parts(found: CurveCheck) -> list[RenderableType]:
    """Return what a check found: the conclusion, all differences, how they were judged, and notes."""
    parts: list[RenderableType] = [_conclusion(found), _table(found), Text(_how(found))]
    return [*parts, *(Text(note, style="yellow") for note in found.notes)]


def check_text(found: CurveCheck) -> str:
    """Return a check as Markdown, which is also plain to read."""
    from inferencesim.report.markdown import markdown

    return markdown(check_parts(found))


def _conclusion(found: CurveCheck) -> Text:
    if found.passed:
        equal = all(each.conclusion == "equal" for each in found.difference_rows)
        what = "all replications are equal" if equal else "nothing has changed by more than chance and its limit"
        return Text.assemble(("passed", "green"), f": {found.curve}: {what}.")
    moved: dict[str, list[CurveDifference]] = {}
    for each in found.changed:
        moved.setdefault(f"{metric_name(each.metric)} is {each.conclusion}", []).append(each)
    what = "; ".join(f"{said} at load {', '.join(f'{row.load:g}' for row in rows)}" for said, rows in moved.items())
    return Text.assemble(("changed", "bold red"), f": {found.curve}: {what}.")


def _table(found: CurveCheck) -> Table:
    table = new_table(
        f"{found.placement} / {found.balancing} on {found.scenario}, against {found.old}",
        "load", "figure", "old", "new", "change", "limit", "", left=2,
    )  # fmt: skip
    table.columns[-1].justify = "left"
    before = None
    for row in found.difference_rows:
        if before is not None and row.load != before:
            table.add_section()
        change, limit = _change(row)
        table.add_row(
            "" if row.load == before else f"{row.load:g}", metric_name(row.metric), written(row.metric, row.old),
            written(row.metric, row.new), change, limit, Text(row.conclusion, style=_STYLES.get(row.conclusion, "dim")),
        )  # fmt: skip
        before = row.load
    return table


def _change(row: CurveDifference) -> tuple[str, str]:
    """Return change with interval, and limit: shares in points, all else in per cent of the old mean."""
    if row.difference is None or row.low is None or row.high is None or row.limit is None or row.old is None:
        return NOTHING, NOTHING
    if row.metric.endswith("slo_attainment"):
        size, unit = 100.0, "points"
    elif row.old:
        size, unit = 100.0 / abs(row.old), "%"
    else:
        size, unit = 1.0, ""
    if row.conclusion == "equal":
        return "0", f"± {size * row.limit:.3g} {unit}"
    numbers = f"{size * row.difference:+.2f} [{size * row.low:+.2f}, {size * row.high:+.2f}] {unit}"
    return numbers, f"± {size * row.limit:.3g} {unit}"


def _how(found: CurveCheck) -> str:
    """Say what the conclusions promise."""
    together = "on the same random numbers, pair by pair" if found.paired else "on other random numbers"
    return (
        f"{found.replications} replications of each load, {together}. A change counts where its whole interval is "
        f"beyond the limit; the chance that any does although no mean has changed by more is at most "
        f"{share(found.false_alarm_rate)} ({found.comparisons} comparisons, Bonferroni)."
    )


def plot_checks(checks: Sequence[CurveCheck]) -> Picture:
    """Plot old and new against load, a row per curve and a panel per figure; what has changed is marked."""
    from matplotlib.figure import Figure

    columns = max(len(_metrics(each)) for each in checks)
    figure = Figure(figsize=(4.6 * columns, 3.5 * len(checks)), layout="constrained")
    grid = figure.subplots(len(checks), columns, squeeze=False)
    for axes, found in zip(grid, checks, strict=True):
        metrics = _metrics(found)
        for axis in axes[len(metrics) :]:
            axis.set_axis_off()
        for axis, metric in zip(axes, metrics, strict=False):
            _panel(axis, [each for each in found.difference_rows if each.metric == metric], found)
    return figure


def _panel(axis: Axes, rows: Sequence[CurveDifference], found: CurveCheck) -> None:
    scale = 100.0 if rows[0].metric.endswith("slo_attainment") else 1.0
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#E3E3E3", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.ticklabel_format(useOffset=False)
    known = [
        (row.load, scale * row.old, scale * row.limit) for row in rows if row.old is not None and row.limit is not None
    ]
    loads, old = [load for load, _, _ in known], [mean for _, mean, _ in known]
    axis.fill_between(
        loads, [mean - room for _, mean, room in known], [mean + room for _, mean, room in known],
        color=PALETTE[0], alpha=0.15, linewidth=0, label="limit",
    )  # fmt: skip
    axis.plot(loads, old, "o-", color=PALETTE[0], linewidth=1.4, markersize=5, label=f"old ({found.old})")
    seen = [row for row in rows if row.new is not None]
    reach = [scale * ((row.high or 0.0) - (row.low or 0.0)) / 2.0 for row in seen]
    axis.errorbar(
        [row.load for row in seen], [scale * (row.new or 0.0) for row in seen], yerr=reach, fmt="s--", capsize=3,
        color=PALETTE[1], linewidth=1.2, markersize=4.5, label="new, with the interval of the change",
    )  # fmt: skip
    moved = [row for row in seen if row.changed]
    if moved:
        axis.plot(
            [row.load for row in moved], [scale * (row.new or 0.0) for row in moved], "o", markersize=13,
            markerfacecolor="none", markeredgecolor=PALETTE[5], markeredgewidth=1.8, label="changed",
        )  # fmt: skip
    axis.set_title(f"{metric_name(rows[0].metric)}{_unit(rows[0].metric)}", loc="left", fontsize=10)
    axis.set_xlabel(f"load; {found.placement} on {found.scenario}", fontsize=9)
    axis.legend(frameon=False, fontsize=7)


def _metrics(found: CurveCheck) -> list[str]:
    return list(_once(each.metric for each in found.difference_rows))


def _once(names: Iterable[str]) -> dict[str, None]:
    return dict.fromkeys(names)


def _unit(metric: str) -> str:
    endings = {"slo_attainment": " (%)", "_usd": " (USD)", "_j": " (J)", "_s": " (s)"}
    return next((unit for ending, unit in endings.items() if metric.split(".")[0].endswith(ending)), "")


def _half(interval: tuple[float, float]) -> float:
    return (interval[1] - interval[0]) / 2.0
