"""The load of a scenario: every open-loop request of every class, drawn before the clock starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.scenario.arrivals import Closed, TraceArrivals
from inferencesim.workload.arrivals import arrival_times
from inferencesim.workload.lengths import sample, sample_seconds
from inferencesim.workload.streams import session_base, stream
from inferencesim.workload.traces.reading import read_trace
from inferencesim.workload.traces.spread import spread_batches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inferencesim.scenario.lengths import Lengths
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.workload.traces.record import MalformedRow, Trace


@dataclass(frozen=True)
class Load:
    """Requests sorted by arrival, then class, then number within the class; columns of equal length.

    Parameters
    ----------
    arrived_s : numpy.ndarray
        Shape (requests,), float64, seconds from the start of the simulation.
    class_index : numpy.ndarray
        int64, position of the class in the scenario's list.
    prompt_tokens, output_tokens : numpy.ndarray
        int64, at least 1.
    session : numpy.ndarray
        int64, −1 where the request belongs to none; ids of two classes do not meet.
    patience_s : numpy.ndarray
        float64, seconds the client waits for the first token; inf where it waits for ever.
    cancel_after_s : numpy.ndarray
        float64, seconds from arrival until the client cancels; inf where it does not.
    task : numpy.ndarray
        int64, number of the task within its class, in order of arrival.
    malformed : tuple of MalformedRow
        Trace rows that were left out.
    """

    arrived_s: NDArray[np.float64]
    class_index: NDArray[np.int64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    session: NDArray[np.int64]
    patience_s: NDArray[np.float64]
    cancel_after_s: NDArray[np.float64]
    task: NDArray[np.int64]
    malformed: tuple[MalformedRow, ...] = ()

    def __len__(self) -> int:
        return len(self.arrived_s)


@dataclass(frozen=True)
class _Requests:
    """What arrivals alone decide: times, lengths and sessions of one class."""

    arrived_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    session: NDArray[np.int64]


def generate_load(
    classes: Sequence[WorkloadClass], horizon_s: float, seed: int, base: Path, strict: bool = False
) -> Load:
    """Draw all requests of the open-loop classes.

    Every quantity of a class has its own stream, named by the class and by
    what is drawn, and read in order of task numbers: task i keeps its lengths
    when the arrival process changes, and a class keeps all of its load when
    another one changes. Closed-loop classes have no rows here, see
    :func:`inferencesim.workload.closed.draw_turns`.

    Parameters
    ----------
    classes : sequence of WorkloadClass
        All classes of the scenario, in its order.
    horizon_s : float
        Arrivals lie in [0, horizon), in seconds.
    seed : int
        The scenario's seed.
    base : Path
        Folder from which relative paths of traces start.
    strict : bool
        Whether a malformed row of a trace is an error.

    Returns
    -------
    Load

    Raises
    ------
    InputError
        If a trace cannot be read or used, or an arrival process or a
        distribution is not registered.
    """
    if len({each.name for each in classes}) < len(classes):
        # The scenario refuses this with its place; here it guards the streams, which are named by class.
        msg = "two classes of one name would share their random streams"
        raise ValueError(msg)
    traces = _Traces(base, seed, strict)
    parts: list[Load] = []
    for index, each in enumerate(classes):
        where = f"workload[{index}].arrivals"
        if isinstance(each.arrivals, Closed):
            continue
        if isinstance(each.arrivals, TraceArrivals):
            requests = _replayed(each, each.arrivals, horizon_s, traces, where)
        else:
            generator = stream(seed, each.name, "arrivals")
            times = arrival_times(each.arrivals, each.active, horizon_s, generator, f"{where}.process")
            requests = _drawn(each, index, times, seed)
        parts.append(_completed(each, index, requests, seed))
    return _merged(parts, traces.malformed())


def _drawn(each: WorkloadClass, index: int, times: NDArray[np.float64], seed: int) -> _Requests:
    n = len(times)
    if each.prompt_tokens is None or each.output_tokens is None:
        msg = f"class {each.name!r} has no lengths, which its validation rules out"
        raise ValueError(msg)
    session = np.full(n, -1, dtype=np.int64)
    if each.sessions is not None:
        drawn = stream(seed, each.name, "session").integers(0, each.sessions.active, n)
        session = session_base(each.name) + drawn

    def lengths(spec: Lengths, column: str) -> NDArray[np.int64]:
        return sample(spec, n, stream(seed, each.name, column), f"workload[{index}].{column}.distribution")

    return _Requests(
        arrived_s=times,
        prompt_tokens=lengths(each.prompt_tokens, "prompt_tokens"),
        output_tokens=lengths(each.output_tokens, "output_tokens"),
        session=session,
    )


def _replayed(each: WorkloadClass, arrivals: TraceArrivals, horizon_s: float, traces: _Traces, where: str) -> _Requests:
    """Return the selected rows of a trace, moved from its window to the class's active time."""
    begin_s = each.active.from_s
    end_s = horizon_s if each.active.to_s is None else min(each.active.to_s, horizon_s)
    if end_s <= begin_s:
        none = np.empty(0, dtype=np.int64)
        return _Requests(np.empty(0), none, none, none)
    trace, length_s = traces.read(arrivals, end_s - begin_s, where)
    for column, value in arrivals.select.items():
        trace = trace.select(column, value, f"{where}.select.{column}")
    offset_s = trace.time_s - arrivals.window.from_s
    arrived_s = begin_s + offset_s / arrivals.rate_scale
    kept = (offset_s >= 0.0) & (offset_s < length_s) & (arrived_s < end_s)
    session = np.where(trace.session >= 0, session_base(each.name) + trace.session, -1)
    return _Requests(arrived_s[kept], trace.prompt_tokens[kept], trace.output_tokens[kept], session[kept])


def _completed(each: WorkloadClass, index: int, requests: _Requests, seed: int) -> Load:
    n = len(requests.arrived_s)
    cancel_after_s = np.full(n, math.inf)
    if each.cancellation is not None:
        cancelled = stream(seed, each.name, "cancelled").random(n) < each.cancellation.share
        generator = stream(seed, each.name, "cancel_after")
        where = f"workload[{index}].cancellation.after.distribution"
        after_s = sample_seconds(each.cancellation.after, n, generator, where)
        cancel_after_s = np.where(cancelled, after_s, math.inf)
    return Load(
        arrived_s=requests.arrived_s,
        class_index=np.full(n, index, dtype=np.int64),
        prompt_tokens=requests.prompt_tokens,
        output_tokens=requests.output_tokens,
        session=requests.session,
        patience_s=np.full(n, math.inf if each.timeout is None else each.timeout),
        cancel_after_s=cancel_after_s,
        task=np.arange(n, dtype=np.int64),
    )


def _merged(parts: Sequence[Load], malformed: tuple[MalformedRow, ...]) -> Load:
    def joined(name: str) -> NDArray[np.generic]:
        columns = [getattr(part, name) for part in parts]
        return np.concatenate(columns) if columns else np.empty(0)

    arrived_s = joined("arrived_s").astype(np.float64, copy=False)
    # Parts come in order of class, and each in order of task: a stable sort leaves ties in just that order.
    order = np.argsort(arrived_s, kind="stable")

    def whole(name: str) -> NDArray[np.int64]:
        return joined(name).astype(np.int64, copy=False)[order]

    return Load(
        arrived_s=arrived_s[order],
        class_index=whole("class_index"),
        prompt_tokens=whole("prompt_tokens"),
        output_tokens=whole("output_tokens"),
        session=whole("session"),
        patience_s=joined("patience_s").astype(np.float64, copy=False)[order],
        cancel_after_s=joined("cancel_after_s").astype(np.float64, copy=False)[order],
        task=whole("task"),
        malformed=malformed,
    )


class _Traces:
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
