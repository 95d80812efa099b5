"""The table of what changed between two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from inferencesim.report.formats import significant
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from inferencesim.results.difference import Difference


def difference_table(found: Difference, *, everything: bool = False) -> list[RenderableType]:
    """Return the table of a difference: what changed, or everything."""
    rows = found.rows if everything else found.changed()
    if not rows:
        same = " (same scenario and seed)" if found.same_scenario else ""
        return [Text(f"No number differs between {found.a} and {found.b}{same}.")]
    table = new_table("", "where", "metric", found.a, found.b, "change", "relative", left=2)
    before = ""
    for row in rows:
        relative = "" if row.relative is None else f"{100.0 * row.relative:+.1f} %"
        change = "" if row.change is None else ("+" if row.change > 0 else "") + significant(row.change, 4)
        if before and row.scope != before:
            table.add_section()
        table.add_row(
            "" if row.scope == before else row.scope, row.metric, significant(row.a, 5), significant(row.b, 5), change,
            relative,
        )  # fmt: skip
        before = row.scope
    return [table]
