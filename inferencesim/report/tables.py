"""What all tables for the terminal share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from inferencesim.results.records.summary import Verdict

_COLOUR = {"stable": "green", "unstable": "bold red", "shedding": "yellow", "empty": "yellow"}


def new_table(title: str, *columns: str, left: int = 1) -> Table:
    """Return an empty table whose first `left` columns hold names, the others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        # Names stay whole, also where the terminal is narrow: they are what the next command is given.
        table.add_column(column, justify="left" if place < left else "right", overflow="fold", no_wrap=place == 0)
    return table


def state_text(verdict: Verdict) -> Text:
    """Return the state of a verdict, coloured."""
    return Text(verdict.state, style=_COLOUR[verdict.state])


def verdict_text(verdict: Verdict) -> Text:
    """Return a verdict with its reason, coloured."""
    return Text.assemble(state_text(verdict), ": ", verdict.why)
