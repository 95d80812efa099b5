"""Replaying traces: which rows a class plays, and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.workload.chains import Hashes
from inferencesim.workload.streams import session_base
from inferencesim.workload.traces.reading import read_trace
from inferencesim.workload.traces.spread import spread_batches

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from inferencesim.scenario.arrivals import TraceArrivals
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.workload.traces.record import MalformedRow, Trace, TraceNote


@dataclass(frozen=True)
class Replayed:
    """Rows of a trace as the requests of a class; columns of equal length.

    Parameters
    ----------
    arrived_s : numpy.ndarray
        Shape (requests,), float64, seconds from the start of the simulation.
    prompt_tokens, output_tokens : numpy.ndarray
        int64, at least 1.
    session : numpy.ndarray
        int64, −1 for none; ids of two classes do not meet.
    hashes : Hashes or None
        Of their prompts, where the trace has them.
    """

    arrived_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    session: NDArray[np.int64]
    hashes: Hashes | None = None


def replay(each: WorkloadClass, arrivals: TraceArrivals, horizon_s: float, traces: Traces, where: str) -> Replayed:
    """Return the selected rows of a trace, moved from its window to the class's active time."""
    begin_s = each.active.from_s
    end_s = horizon_s if each.active.to_s is None else min(each.active.to_s, horizon_s)
    if end_s <= begin_s:
        none = np.empty(0, dtype=np.int64)
        return Replayed(np.empty(0), none, none, none)
    trace, length_s = traces.read(arrivals, end_s - begin_s, where)
    for column, value in arrivals.select.items():
        trace = trace.select(column, value, f"{where}.select.{column}")
    offset_s = trace.time_s - arrivals.window.from_s
    arrived_s = begin_s + offset_s / arrivals.rate_scale
    kept = np.flatnonzero((offset_s >= 0.0) & (offset_s < length_s) & (arrived_s < end_s))
    rows = trace.take(kept)
    return Replayed(
        arrived_s=arrived_s[kept],
        prompt_tokens=rows.prompt_tokens,
        output_tokens=rows.output_tokens,
        session=np.where(rows.session >= 0, session_base(each.name) + rows.session, -1),
        hashes=None if rows.blocks is None else Hashes(rows.source, rows.blocks, rows.prompt_tokens),
    )


class Traces:
    """Traces by what is read of them: classes that select rows of one file share one reading of it."""

    def __init__(self, base: Path, seed: int, strict: bool) -> None:
        self._base = base
        self._seed = seed
        self._strict = strict
        self._read: dict[tuple[object, ...], Trace] = {}

    def read(self, arrivals: TraceArrivals, active_s: float, where: str) -> tuple[Trace, float]:
        """Return the trace, with its batches spread out, and the length of its window in seconds."""
        window = arrivals.window
        length_s = active_s * arrivals.rate_scale
        if window.length is not None:
            length_s = min(length_s, window.length)
        key = (arrivals.file, arrivals.format, window.from_s, length_s, arrivals.spread)
        if key not in self._read:
            trace = read_trace(
                self._base / arrivals.file,
                arrivals.format,
                self._strict,
                self._seed,
                start_s=window.from_s,
                end_s=window.from_s + length_s,
                where=f"{where}.format",
            )
            self._read[key] = self._spread(trace, arrivals)
        return self._read[key], length_s

    def _spread(self, trace: Trace, arrivals: TraceArrivals) -> Trace:
        moved = spread_batches(trace.time_s, arrivals.spread, self._seed, arrivals.file)
        return replace(trace, time_s=moved)

    def malformed(self) -> tuple[MalformedRow, ...]:
        """Return all malformed rows, each once, by file and line."""
        return tuple(sorted({row for trace in self._read.values() for row in trace.malformed}))

    def notes(self) -> tuple[TraceNote, ...]:
        """Return what the readers assumed or left out, each once, by file."""
        return tuple(sorted({note for trace in self._read.values() for note in trace.said()}))
