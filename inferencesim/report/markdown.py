"""Tables and texts as Markdown, for a pull request or a page."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

#: Wider than any cell.
_WIDTH = 10_000


def markdown(parts: Iterable[RenderableType]) -> str:
    """Return what a console would show as Markdown: tables as tables, anything else as paragraphs."""
    return "\n\n".join(_table(part) if isinstance(part, Table) else _escaped(_plain(part)) for part in parts) + "\n"


def _table(table: Table) -> str:
    heads = [_cell(column.header) for column in table.columns]
    marks = ["---:" if column.justify == "right" else "---" for column in table.columns]
    rows = zip(*([_cell(cell) for cell in column.cells] for column in table.columns), strict=True)
    lines = [f"| {' | '.join(row)} |" for row in (heads, marks, *rows)]
    title = [f"**{_cell(table.title)}**", ""] if table.title else []
    return "\n".join([*title, *lines])


def _cell(content: RenderableType) -> str:
    return _escaped(_plain(content)).replace("\n", " ")


def _escaped(text: str) -> str:
    """Return text in which nothing is a mark: a bar would end a cell, a star or an underscore begin what is slanted."""
    for mark in ("\\", "|", "*", "_", "<", "`"):
        text = text.replace(mark, f"\\{mark}")
    return text


def _plain(content: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=_WIDTH, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(content)
    return captured.get().rstrip()
