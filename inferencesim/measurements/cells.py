"""Rows of a CSV file, each knowing its place, so that a bad cell is told with file, line and column."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferencesim.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One row: its place, and its cells by column, surrounding blanks removed."""

    path: Path
    line: int
    cells: dict[str, str]

    def place(self, column: str) -> str:
        """Return how a cell is called in messages."""
        return f"{self.path}, line {self.line}, column {column}"

    def text(self, column: str) -> str:
        """Return a cell; empty where the file has no such column."""
        return self.cells.get(column, "")

    def number(self, column: str) -> float | None:
        """Return a cell as a finite number; nothing where it is empty.

        Raises
        ------
        InputError
            If it is something else.
        """
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(self.place(column), f"{text!r} is not a number", "Write digits with a decimal point.")
        return value

    def whole(self, column: str) -> int | None:
        """Return a cell as a whole number not below zero (``8`` or ``8.0``); nothing where it is empty.

        Raises
        ------
        InputError
            If it is something else.
        """
        value = self.number(column)
        if value is None:
            return None
        if value < 0 or value != int(value):
            remedy = "Write a count in digits, or leave it empty."
            raise InputError(self.place(column), f"{self.text(column)!r} is not a whole number", remedy)
        return int(value)


def read_rows(path: Path, required: Iterable[str]) -> list[Row]:
    """Read a CSV file with a header; lines without a cell are passed over.

    Raises
    ------
    InputError
        If the file cannot be read, a required column is missing, or a row has more cells than there are columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns = [name.strip() for name in next(reader, [])]
            for name in required:
                if name not in columns:
                    raise InputError(f"{path}, line 1", f"there is no column {name!r}", did_you_mean(name, columns))
            rows = []
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) > len(columns):
                    what = f"{len(cells)} cells, where the header names {len(columns)}"
                    raise InputError(f"{path}, line {reader.line_num}", what, "Quote cells that contain a comma.")
                row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
                rows.append(Row(path, reader.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise InputError(str(path), f"the file cannot be read ({problem})", "It must be CSV in UTF-8.") from problem
    return rows
