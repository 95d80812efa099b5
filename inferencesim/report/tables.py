"""What all tables for the terminal share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Column

    from inferencesim.results.records.summary import Verdict

_COLOUR = {"stable": "green", "unstable": "bold red", "shedding": "yellow", "empty": "yellow"}

#: Between two columns: a space of padding on each side of their edge.
_GAP = 3

#: So wide a column of words is left if it has as many, and where even names would have to be folded otherwise.
_WORDS, _FEWEST = 24, 8


class NamedTable(Table):
    """A table whose first columns name its rows, so that it can be printed in parts where it is too wide.

    Parameters
    ----------
    title : str
    names : int
        Columns of names.
    together : int
        How many of the further columns are read together, as a mean and its interval.
    """

    def __init__(self, title: str, names: int, together: int = 1) -> None:
        super().__init__(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        self.names, self.together = names, together


def new_table(title: str, *columns: str, left: int = 1, together: int = 1) -> NamedTable:
    """Return an empty table whose first `left` columns hold names, the others numbers, `together` of which are one."""
    table = NamedTable(title, left, together)
    for place, column in enumerate(columns):
        # Names stay whole, also where the terminal is narrow: they are what the next command is given.
        table.add_column(column, justify="left" if place < left else "right", overflow="fold", no_wrap=place == 0)
    return table


def fitted(table: NamedTable, width: int) -> list[NamedTable]:
    """Return a table, or the parts of one that is too wide, to be printed one below the other.

    Each part has the names that tell its rows apart. Numbers are never broken; words may be folded: those in columns of
    names, and in others that are justified left.

    Parameters
    ----------
    table : NamedTable
    width : int
        Columns of the console.
    """
    if _side_by_side([_whole(each) for each in table.columns]) <= width:
        return [table]
    parts = _packed(table, width)
    # As many parts, but none wider than it has to be.
    while len(packed := _packed(table, _widest(parts) - 1)) == len(parts) and _widest(packed) < _widest(parts):
        parts = packed
    titles = [str(table.title), *["(continued)"] * (len(parts) - 1)]
    drawn = [_drawn(table, part, width, title) for part, title in zip(parts, titles, strict=True)]
    drawn[-1].caption, drawn[-1].caption_justify = table.caption, table.caption_justify
    return drawn


def _packed(table: NamedTable, width: int) -> list[list[Column]]:
    """Return the columns of each part: names, and as many of the others as there is room for."""
    telling = table.columns[: _telling(table)]
    parts: list[list[Column]] = []
    part = table.columns[: table.names]
    for place in range(table.names, len(table.columns), table.together):
        group = table.columns[place : place + table.together]
        if len(part) > len(telling) and _widest([[*part, *group]]) > width:
            parts.append(part)
            part = telling
        part = [*part, *group]
    return [*parts, part]


def _telling(table: NamedTable) -> int:
    """Return how many of the columns of names it takes to tell the rows apart."""
    for number in range(1, table.names):
        rows = list(zip(*([_plain(cell) for cell in each.cells] for each in table.columns[:number]), strict=True))
        if len(set(rows)) == len(rows):
            return number
    return table.names


def _drawn(table: NamedTable, columns: Sequence[Column], width: int, title: str) -> NamedTable:
    """Return some columns of a table as one of their own, whose numbers have the room they need."""
    part = NamedTable(title, table.names, table.together)
    part.show_header = table.show_header
    crowded = _side_by_side([_least(each, _FEWEST) for each in columns]) > width
    for column in columns:
        words = _is_words(column)
        part.add_column(
            column.header, justify=column.justify, overflow=column.overflow,
            no_wrap=column.no_wrap and words and not crowded, width=None if words else _least(column),
        )  # fmt: skip
    for row, cells in zip(table.rows, zip(*(column.cells for column in columns), strict=True), strict=True):
        part.add_row(*cells, end_section=row.end_section)
    return part


def _is_words(column: Column) -> bool:
    return column.justify == "left"


def _least(column: Column, words: int = _WORDS) -> int:
    """Return the least room for a column: for each of its numbers and each word of its head; for so many of `words`."""
    head = _longest(_plain(column.header).split())
    if not _is_words(column):
        return max(head, _longest([_plain(cell) for cell in column.cells]))
    if column.no_wrap:
        return _whole(column)
    return min(_whole(column), max(head, words))


def _widest(parts: Sequence[Sequence[Column]]) -> int:
    return max(_side_by_side([_least(column) for column in part]) for part in parts)


def _whole(column: Column) -> int:
    return _longest([_plain(text) for text in (column.header, *column.cells)])


def _longest(texts: Sequence[str]) -> int:
    return max((cell_len(line) for text in texts for line in text.splitlines()), default=0)


def _side_by_side(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * len(widths)


def _plain(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def state_text(verdict: Verdict) -> Text:
    """Return the state of a verdict, coloured."""
    return Text(verdict.state, style=_COLOUR[verdict.state])


def verdict_text(verdict: Verdict) -> Text:
    """Return a verdict with its reason, coloured."""
    return Text.assemble(state_text(verdict), ": ", verdict.why)
