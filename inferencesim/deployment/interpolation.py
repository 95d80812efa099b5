"""A measured step table as the kernel reads it: the time of a step, linear between measured points.

A table is four parts, measured operator by operator, and a constant::

    seconds = constant + tokens(tokens) + sequences(sampled)
            + decode(batch, mean context) + chunks · prefill(chunk, tokens before)

Several prefill chunks of one step count as as many equal ones with the same
number of (query, context) pairs. Below its first point a part keeps the value
it has there: a kernel over less than was measured still has to be launched.
Beyond the last point a run is refused before it starts
(:mod:`inferencesim.deployment.envelope`); only a router's guess about a batch that
may never form gets there, and continues the last line.

All tables of a fleet lie end to end in one array of float64; each begins with
the places of its parts, counted from its own start::

    tokens, sequences, decode, prefill, constant
    curve   : points, then their positions, then their seconds
    surface : rows, columns, then the rows' and the columns' positions, then the seconds row by row
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inferencesim.jit import compiled, inlined

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Numbers at the start of a table: the places of its parts, and the constant.
TOKENS, SEQUENCES, DECODE, PREFILL, CONSTANT = range(5)
HEADER = 5


class Line(NamedTuple):
    """A straight piece of a part: value + slope · (x − start), from `start` up to `end`."""

    value: float
    slope: float
    start: float
    end: float


@inlined
def _segment(table: NDArray[np.float64], first: int, count: int, x: float) -> int:
    """Return the i, at most count − 2, whose positions i and i + 1 hold `x` between them; 0 below the first."""
    low, high = 0, count - 1
    while high - low > 1:
        middle = (low + high) // 2
        if x < table[first + middle]:
            high = middle
        else:
            low = middle
    return low


@inlined
def _share(table: NDArray[np.float64], place: int, x: float) -> float:
    """Return how far `x` is from position `place` to the next one; not below 0."""
    return float(max(0.0, (x - table[place]) / (table[place + 1] - table[place])))


@inlined
def _between(low: float, high: float, share: float) -> float:
    return (1.0 - share) * low + share * high


@compiled
def curve_at(table: NDArray[np.float64], start: int, part: int, x: float) -> float:
    """Return the seconds of a curve at `x`."""
    place = start + int(table[start + part])
    points = int(table[place])
    first = place + 1
    i = first + _segment(table, first, points, x)
    return _between(table[i + points], table[i + points + 1], _share(table, i, x))


@compiled
def surface_line(table: NDArray[np.float64], start: int, part: int, row: float, column: float) -> Line:
    """Return the piece of a surface along its columns that holds `column`, at row `row`."""
    place = start + int(table[start + part])
    rows, columns = int(table[place]), int(table[place + 1])
    first_row = place + 2
    first_column = first_row + rows
    values = first_column + columns
    i = _segment(table, first_row, rows, row)
    j = _segment(table, first_column, columns, column)
    share = _share(table, first_row + i, row)
    here = values + i * columns + j
    low = _between(table[here], table[here + columns], share)
    if column < table[first_column]:
        return Line(low, 0.0, 0.0, table[first_column])
    high = _between(table[here + 1], table[here + columns + 1], share)
    begin, end = table[first_column + j], table[first_column + j + 1]
    return Line(low, (high - low) / (end - begin), begin, end if j < columns - 2 else np.inf)


@compiled
def decode_seconds(table: NDArray[np.float64], start: int, decoding: float, context: float) -> Line:
    """Return the seconds of decode steps of `decoding` sequences as a line in their total context."""
    each = surface_line(table, start, DECODE, decoding, context / decoding)
    others = (
        table[start + CONSTANT] + curve_at(table, start, TOKENS, decoding) + curve_at(table, start, SEQUENCES, decoding)
    )
    return Line(others + each.value, each.slope / decoding, each.start * decoding, each.end * decoding)


@compiled
def step_seconds(
    table: NDArray[np.float64],
    start: int,
    decoding: float,
    context: float,
    chunks: float,
    prefill_tokens: float,
    prefill_pairs: float,
    sampled: float,
) -> float:
    """Return the seconds of one step with prefill in it.

    Parameters
    ----------
    table : ndarray of float64
        All tables of the fleet.
    start : int
        Where this one begins.
    decoding, context : float
        Decoding sequences and the context tokens they read in total.
    chunks, prefill_tokens, prefill_pairs : float
        Prefill chunks, their tokens, and Σ chunk · (before + chunk / 2).
    sampled : float
        Sequences that sample a token.
    """
    seconds = table[start + CONSTANT] + curve_at(table, start, TOKENS, decoding + prefill_tokens)
    if sampled > 0.0:
        seconds += curve_at(table, start, SEQUENCES, sampled)
    if decoding > 0.0:
        mean = context / decoding
        line = surface_line(table, start, DECODE, decoding, mean)
        seconds += line.value + line.slope * (mean - line.start)
    if prefill_tokens > 0.0:
        chunk = prefill_tokens / chunks
        before = max(0.0, prefill_pairs / prefill_tokens - chunk / 2.0)
        line = surface_line(table, start, PREFILL, chunk, before)
        seconds += chunks * (line.value + line.slope * (before - line.start))
    return float(seconds)
