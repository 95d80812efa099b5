"""The sensitivity table: what each parameter does to each figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.formats import NOTHING, joules, seconds, significant, usd
from inferencesim.report.tables import new_table, verdict_text
from inferencesim.results.sensitivity import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.table import Table

    from inferencesim.results.sensitivity import Metric, Move, Sensitivity, SensitivityReport

#: Heads of the columns, and how their figures are written.
_COLUMNS: dict[Metric, tuple[str, Callable[[float | None], str]]] = {
    "tpot_s.mean": ("TPOT\nmean", seconds),
    "ttft_s.mean": ("TTFT\nmean", seconds),
    "e2e_s.p99": ("E2E\np99", seconds),
    "output_tokens_per_s": ("output\ntokens/s", significant),
    "cost_per_completed_request_usd": ("cost per\nrequest", usd),
    "energy_per_completed_request_j": ("energy per\nrequest", joules),
}

#: Changes that are written as none, in per cent: half of the last digit shown.
_UNSEEN = 0.05

#: Part of the share asked for above which a move was a whole one: below it, it met a limit.
_WHOLE = 0.999

#: Units of numbers that read as well without.
_PLAIN = frozenset({"fraction"})


def sensitivity_tables(report: SensitivityReport) -> list[RenderableType]:
    """Return what ``sensitivity`` prints: the verdict, the table, how to read it, and what has no effect."""
    parts: list[RenderableType] = [
        Text.assemble((report.name, "bold"), f"  seed {report.seed}, pools: {', '.join(report.pools)}"),
        verdict_text(report.verdict),
        _table(report),
        Text(
            f"Each cell: change in per cent when the parameter is {_share(report.share)} better / worse under the same "
            "load; better is faster, larger, less power. "
            f"0: less than {_UNSEEN} %. {NOTHING}: not to be had, or not simulated for the reason in the note."
        ),
    ]
    if report.without_effect:
        parts.append(Text(f"Without effect on these pools: {', '.join(report.without_effect)}."))
    return parts


def _table(report: SensitivityReport) -> Table:
    heads = [head for head, _ in _COLUMNS.values()]
    table = new_table("Sensitivity", "parameter", "value", "provenance", *heads, "note")
    table.columns[2].justify = table.columns[-1].justify = "left"
    figures = (write(report.base[metric]) for metric, (_, write) in _COLUMNS.items())
    table.add_row("as it is", "", "", *figures, "", end_section=True)
    for row in report.rows:
        cells = (_cell(row.better.changes.get(metric), row.worse.changes.get(metric)) for metric in METRICS)
        table.add_row(row.parameter, *_number(row), *cells, _note(row, report))
    return table


def _number(row: Sensitivity) -> tuple[str, str]:
    """Return value and provenance of a parameter, where its pools agree."""
    texts = dict.fromkeys(f"{each.value:,.4g} {'' if each.unit in _PLAIN else each.unit}".rstrip()
                          for each in row.numbers)  # fmt: skip
    provenances = dict.fromkeys(each.provenance for each in row.numbers)
    return (
        next(iter(texts)) if len(texts) == 1 else "several",
        next(iter(provenances)) if len(provenances) == 1 else "several",
    )


def _cell(better: float | None, worse: float | None) -> str:
    texts = [_change(better), _change(worse)]
    return texts[0] if texts[0] == texts[1] else " / ".join(texts)


def _change(change: float | None) -> str:
    if change is None:
        return NOTHING
    return "0" if abs(100.0 * change) < _UNSEEN else f"{100.0 * change:+.1f}"


def _note(row: Sensitivity, report: SensitivityReport) -> str:
    remarks = {"better": _remark(row.better, report), "worse": _remark(row.worse, report)}
    return "; ".join(f"{way}: {remark}" for way, remark in remarks.items() if remark)


def _remark(move: Move, report: SensitivityReport) -> str:
    """Say what is special about a move: nothing was simulated, it was shorter, or the verdict is another."""
    if move.obstacle == "does not fit":
        return "the model does not fit"
    if move.obstacle is not None:
        return move.obstacle
    remarks = []
    if move.least_share < _WHOLE * report.share:
        remarks.append(f"{_share(move.least_share)} only, at its limit")
    if move.state is not None and move.state != report.verdict.state:
        remarks.append(move.state)
    return ", ".join(remarks)


def _share(share: float) -> str:
    return f"{100.0 * share:.3g} %"
