"""What a trace is once it is read, whatever its format was."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: How many malformed rows a document names; it counts them all.
MOST_NAMED = 100


@dataclass(frozen=True, order=True)
class MalformedRow:
    """A row that could not be used: its file, its line counted from 1, and why."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, order=True)
class TraceNote:
    """What a reader assumed of a trace, or left out though nothing is wrong with it."""

    file: str
    text: str


@dataclass(frozen=True)
class ReadOptions:
    """How a trace is read.

    Parameters
    ----------
    strict : bool
        Whether the first malformed row is an error, or is counted and left out.
    seed : int
        For formats that describe a load rather than list it.
    start_s, end_s : float
        Rows outside [start, end) are left out; seconds of the trace's own time.
        Reading may stop at the end, so that malformed rows after it go unnoticed.
    """

    strict: bool = False
    seed: int = 0
    start_s: float = 0.0
    end_s: float = math.inf


@dataclass(frozen=True)
class Label:
    """A column of text: ``values[codes[i]]`` is the text of row i.

    Parameters
    ----------
    name : str
        The column's name in the file.
    codes : numpy.ndarray
        Shape (rows,), int64.
    values : tuple of str
        The different texts.
    """

    name: str
    codes: NDArray[np.int64]
    values: tuple[str, ...]


@dataclass(frozen=True)
class BlockHashes:
    """Ids of the prompt's cache blocks: row i has ``values[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    offsets : numpy.ndarray
        Shape (rows + 1,), int64.
    values : numpy.ndarray
        Shape (blocks,), int64; equal ids mean an equal prefix up to and including the block.
    block_size : int
        Tokens per block.
    """

    offsets: NDArray[np.int64]
    values: NDArray[np.int64]
    block_size: int

    def take(self, rows: NDArray[np.int64]) -> BlockHashes:
        """Return the hashes of these rows, in this order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        # Position within the row plus where the row begins in the old array, for all rows at once.
        positions = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return BlockHashes(offsets, self.values[positions], self.block_size)

    def numbered(self) -> BlockHashes:
        """Return the same with ids that count from zero, so that they can index a table."""
        if not len(self.values):
            return self
        low, high = int(self.values.min()), int(self.values.max())
        if high - low < 2 * len(self.values):
            return replace(self, values=self.values - low)
        return replace(self, values=np.unique(self.values, return_inverse=True)[1].astype(np.int64))


@dataclass(frozen=True)
class Trace:
    """Requests in order of time, as columns of equal length.

    Parameters
    ----------
    source : str
        The file or folder it was read from.
    format : str
        Id of the reader.
    time_s : numpy.ndarray
        Shape (rows,), float64, seconds since the trace's own zero, not decreasing.
    prompt_tokens, output_tokens : numpy.ndarray
        Shape (rows,), int64, at least 1.
    session : numpy.ndarray
        Shape (rows,), int64; −1 where the row belongs to none.
    labels : tuple of Label
        Columns of text by which classes can select rows.
    blocks : BlockHashes or None
        Prefix hashes, where the format has them.
    malformed : tuple of MalformedRow
        Rows that were left out because they make no sense.
    failed : int
        Rows left out because they record a request that failed (no output at all).
    notes : tuple of str
        What the reader had to assume.
    """

    source: str
    format: str
    time_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    session: NDArray[np.int64]
    labels: tuple[Label, ...] = ()
    blocks: BlockHashes | None = None
    malformed: tuple[MalformedRow, ...] = ()
    failed: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time_s)

    def said(self) -> tuple[TraceNote, ...]:
        """Return the notes, and how many failed requests were left out."""
        return notes_of(self.source, self.failed, "failed requests left out", self.notes)

    def take(self, rows: NDArray[np.int64]) -> Trace:
        """Return a trace of these rows, in this order."""
        return replace(
            self,
            time_s=self.time_s[rows],
            prompt_tokens=self.prompt_tokens[rows],
            output_tokens=self.output_tokens[rows],
            session=self.session[rows],
            labels=tuple(Label(each.name, each.codes[rows], each.values) for each in self.labels),
            blocks=None if self.blocks is None else self.blocks.take(rows),
        )

    def select(self, column: str, value: str, where: str) -> Trace:
        """Return the rows whose `column` says `value`.

        Raises
        ------
        InputError
            At `where`, if the format has no such column, or no row has the value.
        """
        for label in self.labels:
            if label.name == column:
                if value not in label.values:
                    raise InputError(where, f"no row has {column} {value!r}", did_you_mean(value, label.values))
                return self.take(np.flatnonzero(label.codes == label.values.index(value)))
        names = [label.name for label in self.labels]
        raise InputError(
            where, f"a trace of format {self.format} has no column {column!r}", did_you_mean(column, names)
        )


class Texts:
    """Texts of a column, turned into codes as they come."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def code(self, text: str) -> int:
        """Return the code of `text`, a new one if it is new."""
        return self._codes.setdefault(text, len(self._codes))

    def values(self) -> tuple[str, ...]:
        """Return the texts in order of their codes."""
        return tuple(self._codes)


def notes_of(source: str, failed: int, left_out: str, notes: Sequence[str]) -> tuple[TraceNote, ...]:
    """Return notes of a trace, and how much was left out because it failed, if anything was."""
    counted = [f"{left_out}: {failed:,}"] if failed else []
    return tuple(TraceNote(source, text) for text in (*counted, *notes))


def place(path: Path, line: int) -> str:
    """Return how a line of a file is called in messages."""
    return f"{path}, line {line}"


def reject(path: Path, line: int, reason: str, strict: bool) -> MalformedRow:
    """Return a malformed row, or raise it.

    Raises
    ------
    InputError
        If `strict`.
    """
    if strict:
        remedy = "Mend the row, or read the trace without strict to leave it out."
        raise InputError(place(path, line), reason, remedy)
    return MalformedRow(str(path), line, reason)


def require_trace(path: Path) -> None:
    """Refuse a trace that is not there, or has nothing in it.

    Raises
    ------
    InputError
    """
    if not path.exists():
        raise InputError(str(path), "there is no such trace", "Relative paths start at the scenario's folder.")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(str(path), "the trace is empty", "Fetch the file again.")
