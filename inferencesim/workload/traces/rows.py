"""Collecting the rows of a text format, and judging each."""

from __future__ import annotations

import gzip
import json
import lzma
import math
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferencesim.errors import InputError
from inferencesim.workload.traces.record import BlockHashes, Label, MalformedRow, Texts, Trace, place, reject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

    from inferencesim.workload.traces.record import ReadOptions


#: Beyond this a count of tokens is a slipped column, not a request.
_MOST_TOKENS = 2**31

#: Rows that are read past one before its time is believed: a few wrong ones in a row are outvoted, and the end of a
#: window is found without reading on through a long file.
LOOK_AHEAD = 32


def open_text(path: Path) -> TextIO:
    """Open a text file, also one packed by gzip (``.gz``) or xz (``.xz``).

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read.
    """
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace")
        if path.suffix == ".xz":
            return lzma.open(path, "rt", encoding="utf-8-sig", errors="replace")
        return path.open(encoding="utf-8-sig", errors="replace")
    except OSError as problem:
        reason = problem.strerror or "it cannot be read"
        raise InputError(str(path), f"the trace cannot be opened ({reason})") from problem


def first_line(path: Path) -> str:
    """Return the first line of a text file, or nothing where there is none to read."""
    try:
        with open_text(path) as file:
            return file.readline(100_000).strip()
    except (InputError, OSError, EOFError, lzma.LZMAError):
        return ""


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank, with their numbers, counted from 1 and blank ones too.

    Raises
    ------
    InputError
        If there is no such file, or it cannot be opened.
    """
    with open_text(path) as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield line, text


def first_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object on the first line of a file; None where there is none."""
    if not path.is_file():
        return None
    try:
        row = json.loads(first_line(path))
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def begins_object_with(path: Path, names: Sequence[str]) -> bool:
    """Say whether the first line of a file begins a JSON object, and has all `names` in quotes.

    Lines of whole sessions are too long to be parsed for that.
    """
    if not path.is_file():
        return False
    start = first_line(path)
    return start.startswith("{") and all(f'"{name}"' in start for name in names)


class _Row(NamedTuple):
    """A row whose time is not yet believed; rows compare by time, then by line."""

    time_s: float
    line: int
    prompt_tokens: int
    output_tokens: int
    session: int
    texts: Sequence[str]
    blocks: Sequence[int] | None


class Rows:
    """The usable rows of one file, and the malformed ones.

    These formats promise order, and a clock that runs backwards is no arrival
    process. Where two rows contradict each other, the next :data:`LOOK_AHEAD`
    rows decide: a row that most of them, and two at least, lie before has leapt
    ahead and is malformed; else the row that is earlier than one before it is.

    Parameters
    ----------
    path : Path
        The file, for messages.
    options : ReadOptions
        Strictness and window.
    label_names : sequence of str
        Columns of text that every row brings.
    from_first : bool
        Whether time counts from the first row that is believed, not from zero.
    """

    def __init__(
        self, path: Path, options: ReadOptions, label_names: Sequence[str] = (), *, from_first: bool = False
    ) -> None:
        self._path = path
        self._options = options
        self._time, self._prompt, self._output, self._session = array("d"), array("q"), array("q"), array("q")
        self._label_names = label_names
        self._texts = [Texts() for _ in label_names]
        self._codes = [array("q") for _ in label_names]
        self._blocks, self._block_counts = array("q"), array("q")
        self._from_first = from_first
        self._origin_s = 0.0
        self._latest_s = -math.inf
        self._seen = 0
        self._pending: deque[_Row] = deque()
        self._in_doubt = 0  #: how many of the pending rows, the oldest first, may lie after one that follows
        self.malformed: list[MalformedRow] = []
        self.failed = 0

    def reject(self, line: int, reason: str) -> None:
        """Count a malformed row, or raise it when strict."""
        self.malformed.append(reject(self._path, line, reason, self._options.strict))

    def add(
        self,
        line: int,
        time_s: float,
        prompt_tokens: int,
        output_tokens: int,
        session: int = -1,
        texts: Sequence[str] = (),
        blocks: Sequence[int] | None = None,
    ) -> bool:
        """Take a row, and say whether later ones can still matter."""
        if not math.isfinite(time_s) or (time_s < 0.0 and not self._from_first):
            self.reject(line, f"the time ({time_s} s) is not at or after the trace's zero")
        elif prompt_tokens < 1 or output_tokens < 1:
            self.reject(line, f"{prompt_tokens} prompt and {output_tokens} output tokens; both must be above zero")
        elif max(prompt_tokens, output_tokens) > _MOST_TOKENS:
            self.reject(line, f"{max(prompt_tokens, output_tokens)} tokens are more than any request has")
        else:
            if self._pending and time_s < self._pending[-1].time_s:
                self._in_doubt = len(self._pending)
            self._pending.append(_Row(time_s, line, prompt_tokens, output_tokens, session, texts, blocks))
            if len(self._pending) > LOOK_AHEAD:
                return self._judge()
        return True

    def _judge(self) -> bool:
        """Believe the oldest row that is pending, or not; say whether later ones can still matter."""
        row = self._pending.popleft()
        doubtful, self._in_doubt = self._in_doubt > 0, max(0, self._in_doubt - 1)
        if row.time_s < self._latest_s:
            before_s, now_s = self._since_start(self._latest_s), self._since_start(row.time_s)
            self.reject(row.line, f"time runs backwards, from {before_s:.6f} s to {now_s:.6f} s")
        elif doubtful and self._leaps_ahead(row):
            ahead_s = row.time_s - min(each.time_s for each in self._pending if each.time_s >= self._latest_s)
            self.reject(row.line, f"time leaps ahead: rows that follow lie up to {ahead_s:.6f} s before it")
        else:
            if self._from_first and not self._seen:
                self._origin_s = row.time_s
            self._latest_s = row.time_s
            self._seen += 1
            time_s = self._since_start(row.time_s)
            if time_s >= self._options.end_s:
                self._pending.clear()
                return False
            if time_s >= self._options.start_s:
                self._append(time_s, row)
        return True

    def _leaps_ahead(self, row: _Row) -> bool:
        """Say whether more of the rows that follow contradict a row's time than bear it out."""
        if not self._pending or min(self._pending).time_s >= row.time_s:
            return False
        before = sum(self._latest_s <= each.time_s < row.time_s for each in self._pending)
        after = sum(each.time_s >= row.time_s for each in self._pending)
        return before > max(after, 1)

    def _since_start(self, time_s: float) -> float:
        return time_s - self._origin_s

    def _append(self, time_s: float, row: _Row) -> None:
        self._time.append(time_s)
        self._prompt.append(row.prompt_tokens)
        self._output.append(row.output_tokens)
        self._session.append(row.session)
        for column, known, text in zip(self._codes, self._texts, row.texts, strict=True):
            column.append(known.code(text))
        if row.blocks is not None:
            self._blocks.extend(row.blocks)
            self._block_counts.append(len(row.blocks))

    def trace(self, name: str, block_size: int | None = None) -> Trace:
        """Return the trace.

        Raises
        ------
        InputError
            If no row of the whole file, or of the window, can be used.
        """
        while self._pending:
            self._judge()
        if not self._time:
            if self._seen:
                window = f"[{self._options.start_s:g} s, {self._options.end_s:g} s)"
                raise InputError(
                    str(self._path),
                    f"no row lies in the window {window}",
                    "Times count from the trace's start.",
                )
            what = "the trace has no usable row"
            if self.malformed:
                what += f" (the first of {len(self.malformed)} malformed rows: {self.malformed[0].reason})"
            raise InputError(str(self._path), what, "Check that the file is complete and of this format.")
        blocks = None
        if block_size is not None and len(self._block_counts) == len(self._time):
            offsets = np.concatenate(([0], np.cumsum(np.frombuffer(self._block_counts, dtype=np.int64))))
            values = np.array(self._blocks, dtype=np.int64)
            blocks = BlockHashes(offsets.astype(np.int64), values, block_size)
        return Trace(
            source=str(self._path),
            format=name,
            time_s=np.array(self._time, dtype=np.float64),
            prompt_tokens=np.array(self._prompt, dtype=np.int64),
            output_tokens=np.array(self._output, dtype=np.int64),
            session=np.array(self._session, dtype=np.int64),
            labels=tuple(
                Label(column, np.array(codes, dtype=np.int64), texts.values())
                for column, codes, texts in zip(self._label_names, self._codes, self._texts, strict=True)
            ),
            blocks=blocks,
            malformed=tuple(sorted(self.malformed)),
            failed=self.failed,
        )


def whole_number(value: object) -> int:
    """Return a value of a JSON row that must be a whole number of 64 bits.

    Raises
    ------
    ValueError
        If it is none.
    """
    if type(value) is not int or abs(value) >= 2**63:
        msg = f"{value!r} is not a whole number"
        raise ValueError(msg)
    return value


def column_names(header: str) -> list[str]:
    """Return the columns that the first line of a CSV names, quoted or not."""
    return [name.strip().strip('"') for name in header.split(",")]


def row_fields(text: str) -> list[str]:
    """Return the fields of a row of a CSV whose fields hold no commas, quoted or not."""
    return text.strip().replace('"', "").split(",")


def header_columns(path: Path, header: str, needed: Sequence[str]) -> list[int]:
    """Return where the `needed` columns of a CSV are.

    Raises
    ------
    InputError
        If one is missing.
    """
    names = column_names(header)
    missing = [name for name in needed if name not in names]
    if missing:
        what, remedy = f"the column {missing[0]!r} is missing", f"Found: {', '.join(names) or 'nothing'}."
        raise InputError(place(path, 1), what, remedy)
    return [names.index(name) for name in needed]
