"""What ``compare`` shows: means with intervals, then differences, and the words that the intervals allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.formats import NOTHING, grams, joules, seconds, share, significant, usd
from inferencesim.report.tables import new_table
from inferencesim.results.comparison import BEST
from inferencesim.results.figures import better

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.comparison import Alternative, Comparison, Estimate, MeanDifference

#: How figures are written, by how their names end; the first that fits.
_WRITERS: tuple[tuple[tuple[str, ...], Callable[[float | None], str]], ...] = (
    (("_per_s",), significant),
    (("_s",), seconds),
    (("_usd",), usd),
    (("_j",), joules),
    (("_g",), grams),
    (("attainment", "share", "utilisation", "rate", "usage", "good", "mfu", "mbu"), share),
)

#: Names of figures that a table calls otherwise than the summary.
_NAMES = {
    "cost_per_completed_task_usd": "cost per completed task",
    "cost_per_completed_request_usd": "cost per completed request",
    "slo_attainment": "promises kept",
    "energy_per_completed_task_j": "energy per completed task",
}

_STYLES = {"better": "green", "worse": "red", "higher": "bold", "lower": "bold"}


def comparison_parts(found: Comparison) -> list[RenderableType]:
    """Return the tables of a comparison, who wins, and the notes."""
    parts: list[RenderableType] = [Text(found.question, style="italic")] if found.question else []
    parts += [_means(found), _differences(found), *(Text(line) for line in (*_how(found), _winners(found)))]
    parts += [Text(note, style="yellow") for note in found.notes]
    return parts


def metric_name(metric: str) -> str:
    """Return a metric as a table calls it: ``chat: promises kept``, ``TTFT p99``."""
    steps = metric.split(".")
    of = ""
    if len(steps) > 2:
        of, steps = f"{steps[1]}: ", steps[2:]
    name = steps[0]
    # A latency with a mean and percentiles: the unit goes, its name is an abbreviation.
    said = name.removesuffix("_s").upper() if len(steps) > 1 and len(name) < 7 else name.replace("_", " ")
    return of + " ".join([_NAMES.get(name, said), *steps[1:]])


def written(metric: str, value: float | None) -> str:
    """Return a figure with its unit."""
    steps = metric.split(".")
    name = steps[2] if len(steps) > 2 else steps[0]
    for endings, write in _WRITERS:
        if name.endswith(endings):
            return write(value)
    return significant(value)


def _means(found: Comparison) -> Table:
    table = new_table(
        f"Means of {found.replications} replications ± {_per_cent(found.confidence)}", "",
        *(each.name for each in found.alternatives),
    )  # fmt: skip
    table.add_row("verdict", *(_states(each) for each in found.alternatives))
    if any(each.open_share for each in found.alternatives):
        table.add_row("promises still open", *(share(each.open_share) for each in found.alternatives))
    table.rows[-1].end_section = True
    for metric in found.metrics:
        table.add_row(metric_name(metric), *(_mean(found.estimate(each.name, metric)) for each in found.alternatives))
    return table


def _states(one: Alternative) -> Text:
    """Return the verdicts of the replications: a bare word where all agree."""
    words = [state if sum(one.states.values()) == n else f"{state} {n}×" for state, n in one.states.items()]
    words += [f"failed {one.failed}×"] * bool(one.failed)
    return Text(", ".join(words), style="green" if words == ["stable"] else "bold red")


def _mean(one: Estimate | None) -> str:
    """Return a mean with its interval, in per cent of it; that of a share in points."""
    if one is None or one.mean is None or one.low is None or one.high is None:
        return NOTHING
    half, text = (one.high - one.low) / 2.0, written(one.metric, one.mean)
    if _is_share(one.metric):
        return f"{text.removesuffix(' %')} ± {share(half)}"
    return f"{text} ± {significant(100.0 * half / abs(one.mean), 2)} %" if one.mean else text


def _is_share(metric: str) -> bool:
    return written(metric, 0.5).endswith("%")


def _differences(found: Comparison) -> Table:
    """Return one row per difference: relative to what it is compared with, that of shares in points."""
    of_best = found.against == BEST
    title = "Differences from the best at each metric" if of_best else f"Differences from {found.against}"
    columns = ["alternative", *["best"] * of_best]
    table = new_table(title, "", *columns, "difference", "interval", "", left=1 + len(columns))
    table.columns[-1].justify = "left"
    before = None
    for row in found.difference_rows:
        if before is not None and row.metric != before:
            table.add_section()
        name = "" if row.metric == before else metric_name(row.metric)
        table.add_row(
            name, row.alternative, *[row.against] * of_best, *_difference(row),
            Text(row.conclusion, style=_STYLES.get(row.conclusion, "dim")),
        )  # fmt: skip
        before = row.metric
    return table


def _difference(row: MeanDifference) -> tuple[str, str]:
    """Return a difference and its interval."""
    if row.difference is None or row.low is None or row.high is None:
        return NOTHING, NOTHING
    if _is_share(row.metric):
        size, unit = 100.0, "points"
    elif row.relative is not None and row.difference:
        size, unit = 100.0 * row.relative / row.difference, "%"
    else:  # nothing to relate it to, or no difference at all
        return significant(row.difference), f"{significant(row.low)} to {significant(row.high)}"
    return f"{_signed(size * row.difference)} {unit}", f"{_signed(size * row.low)} to {_signed(size * row.high)}"


def _signed(number: float) -> str:
    """Return a number with its sign: two digits after the point below ten, one above."""
    return f"{number:+.2f}" if abs(number) < 10.0 else f"{number:+.1f}"


def _how(found: Comparison) -> list[str]:
    """Say what the intervals of the differences promise, and whether they are as short as was wanted."""
    said = [
        f"All alternatives meet the same random numbers (seed {found.seed}). The intervals of the differences hold "
        f"together with {_per_cent(found.confidence)}: they are corrected for {found.comparisons} comparisons."
    ]
    if found.half_width is not None:
        said.append(
            f"Wanted: ± {_per_cent(found.half_width)} of {metric_name(found.metrics[0])}; "
            f"{'reached' if found.reached else 'not reached'} with {found.replications} replications."
        )
    return said


def _winners(found: Comparison) -> str:
    """Say at which metrics one is shown to be better than all others, where that was asked."""
    if found.against != BEST and len(found.alternatives) > 2:
        return f"Only differences from {found.against} are judged; --against {BEST} says who wins at each metric."
    judged = [metric for metric in found.metrics if better(metric) is not None]
    won: dict[str | None, list[str]] = {}
    for metric in judged:
        won.setdefault(found.winner(metric), []).append(metric_name(metric))
    lines = [f"{name} wins at {', '.join(metrics)}." for name, metrics in won.items() if name is not None]
    lines += [f"No winner is shown at {', '.join(won[None])}."] if None in won else []
    return " ".join(lines)


def _per_cent(part: float) -> str:
    return f"{100.0 * part:.4g} %"
