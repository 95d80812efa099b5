"""The load of a scenario: every open-loop request of every class, drawn before the clock starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.scenario.arrivals import ByTasks, Closed, TraceArrivals
from inferencesim.workload.arrivals import arrival_times
from inferencesim.workload.chains import join_chains
from inferencesim.workload.content import Draws, prefix_ids, shared_tokens, whole_tokens
from inferencesim.workload.replay import Traces, replay
from inferencesim.workload.streams import stream

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.workload.chains import Hashes
    from inferencesim.workload.replay import Replayed
    from inferencesim.workload.traces.record import MalformedRow, TraceNote


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
        int64, at least 1; of prompts with their shared prefix.
    predicted_tokens : numpy.ndarray
        float64, what is predicted of `output_tokens`; NaN where nothing is.
    prefix : numpy.ndarray
        int64, id of the shared prefix the prompt begins with; −1 for none.
    history : numpy.ndarray
        int64, −1: open-loop requests belong to no conversation.
    chain : numpy.ndarray
        int64, where the ids of the prompt's cache blocks begin in `block_ids`; −1 where it has none.
    chain_blocks : numpy.ndarray
        int64, how many they are: those the prompt fills, of those its trace knows.
    media_units, media_s : numpy.ndarray
        float64, encoder work and seconds of audio; see :class:`inferencesim.workload.content.Content`.
    session : numpy.ndarray
        int64, −1 where the request belongs to none; ids of two classes do not meet.
    patience_s : numpy.ndarray
        float64, seconds the client waits for the first token; inf where it waits for ever.
    cancel_after_s : numpy.ndarray
        float64, seconds from arrival until the client cancels; inf where it does not.
    task : numpy.ndarray
        int64, number of the task within its class, in order of arrival.
    block_ids : numpy.ndarray
        Shape (blocks,), int64, from 0 without gaps: equal ids mean an equal
        prefix up to and including the block, in one trace; two traces share none.
    chain_tokens : numpy.ndarray
        Shape (classes,), int64, tokens of a block of the class's chains; 0 where it has none.
    malformed : tuple of MalformedRow
        Trace rows that were left out.
    trace_notes : tuple of TraceNote
        What the readers of traces assumed, or left out for other reasons.
    """

    arrived_s: NDArray[np.float64]
    class_index: NDArray[np.int64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    predicted_tokens: NDArray[np.float64]
    prefix: NDArray[np.int64]
    history: NDArray[np.int64]
    chain: NDArray[np.int64]
    chain_blocks: NDArray[np.int64]
    media_units: NDArray[np.float64]
    media_s: NDArray[np.float64]
    session: NDArray[np.int64]
    patience_s: NDArray[np.float64]
    cancel_after_s: NDArray[np.float64]
    task: NDArray[np.int64]
    block_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    chain_tokens: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    malformed: tuple[MalformedRow, ...] = ()
    trace_notes: tuple[TraceNote, ...] = ()

    def __len__(self) -> int:
        return len(self.arrived_s)

    def of(self, rows: NDArray[np.bool_]) -> Load:
        """Return some of the requests."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})


#: Columns of a load with one row per request, and which of them are no whole numbers.
_OF_ALL = ("block_ids", "chain_tokens", "malformed", "trace_notes")
_COLUMNS = tuple(each.name for each in fields(Load) if each.name not in _OF_ALL)
_FLOATS = ("arrived_s", "predicted_tokens", "media_units", "media_s", "patience_s", "cancel_after_s")


@dataclass(frozen=True)
class _Requests:
    """What the two sources of requests, draws and traces, say of those of one class; columns as those of the load."""

    arrived_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    session: NDArray[np.int64]
    prefix: NDArray[np.int64]
    media_units: NDArray[np.float64]
    media_s: NDArray[np.float64]
    hashes: Hashes | None = None


def generate_load(
    classes: Sequence[WorkloadClass], horizon_s: float, seed: int, base: Path, strict: bool = False
) -> Load:
    """Draw all requests of the open-loop classes.

    Every quantity of a class has its own stream, named by the class and by
    what is drawn, and read in order of task numbers: task i keeps its lengths
    when the arrival process changes, and a class keeps all of its load when
    another one changes. Closed-loop classes have no rows here, see
    :func:`inferencesim.workload.closed.draw_turns`, and neither have those that tasks
    call, see :func:`inferencesim.workload.graphs.unroll`.

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
    traces = Traces(base, seed, strict)
    open_loop = {index: each for index, each in enumerate(classes) if not isinstance(each.arrivals, (ByTasks, Closed))}
    requests = [_requests(each, index, horizon_s, seed, traces) for index, each in open_loop.items()]
    chains = join_chains([each.hashes for each in requests], [len(each.arrived_s) for each in requests])
    parts = [
        _completed(each, index, of_class, chain, chain_blocks, seed)
        for (index, each), of_class, chain, chain_blocks in zip(
            open_loop.items(), requests, chains.chain, chains.chain_blocks, strict=True
        )
    ]
    chain_tokens = np.zeros(len(classes), dtype=np.int64)
    for index, of_class in zip(open_loop, requests, strict=True):
        chain_tokens[index] = 0 if of_class.hashes is None else of_class.hashes.blocks.block_size
    return replace(
        _merged(parts),
        block_ids=chains.block_ids,
        chain_tokens=chain_tokens,
        malformed=traces.malformed(),
        trace_notes=traces.notes(),
    )


def _requests(each: WorkloadClass, index: int, horizon_s: float, seed: int, traces: Traces) -> _Requests:
    where = f"workload[{index}]"
    if isinstance(each.arrivals, TraceArrivals):
        return _replayed(each, replay(each, each.arrivals, horizon_s, traces, f"{where}.arrivals"))
    if isinstance(each.arrivals, (ByTasks, Closed)):
        msg = f"class {each.name!r} is no open loop"
        raise ValueError(msg)
    generator = stream(seed, each.name, "arrivals")
    times = arrival_times(each.arrivals, each.active, horizon_s, generator, f"{where}.arrivals")
    return _drawn(each, index, times, Draws(each, len(times), seed, where))


def _drawn(each: WorkloadClass, index: int, times: NDArray[np.float64], draws: Draws) -> _Requests:
    content = draws.content()
    return _Requests(
        arrived_s=times,
        prompt_tokens=shared_tokens(each) + whole_tokens(content.prompt_tokens),
        output_tokens=whole_tokens(content.output_tokens),
        session=draws.sessions(),
        prefix=prefix_ids(draws.variants(), index),
        media_units=content.media_units,
        media_s=content.media_s,
    )


def _replayed(each: WorkloadClass, rows: Replayed) -> _Requests:
    n = len(rows.arrived_s)
    return _Requests(
        arrived_s=rows.arrived_s,
        prompt_tokens=rows.prompt_tokens,
        output_tokens=rows.output_tokens if each.generates else np.ones(n, dtype=np.int64),
        session=rows.session,
        prefix=np.full(n, -1, dtype=np.int64),
        media_units=np.zeros(n),
        media_s=np.zeros(n),
        hashes=rows.hashes,
    )


def _completed(
    each: WorkloadClass,
    index: int,
    requests: _Requests,
    chain: NDArray[np.int64],
    chain_blocks: NDArray[np.int64],
    seed: int,
) -> Load:
    n = len(requests.arrived_s)
    draws = Draws(each, n, seed, f"workload[{index}]")
    return Load(
        arrived_s=requests.arrived_s,
        class_index=np.full(n, index, dtype=np.int64),
        prompt_tokens=requests.prompt_tokens,
        output_tokens=requests.output_tokens,
        predicted_tokens=draws.predicted_tokens(requests.output_tokens),
        prefix=requests.prefix,
        history=np.full(n, -1, dtype=np.int64),
        chain=chain,
        chain_blocks=chain_blocks,
        media_units=requests.media_units,
        media_s=requests.media_s,
        session=requests.session,
        patience_s=np.full(n, math.inf if each.timeout is None else each.timeout),
        cancel_after_s=draws.cancel_after_s(),
        task=np.arange(n, dtype=np.int64),
    )


def _merged(parts: Sequence[Load]) -> Load:
    """Return the requests of all parts in the load's order."""
    # Parts come in order of class, and each in order of task: a stable sort leaves ties in just that order.
    order = np.argsort(np.concatenate([np.empty(0), *(part.arrived_s for part in parts)]), kind="stable")

    def joined(name: str) -> Any:
        none = np.empty(0, dtype=np.float64 if name in _FLOATS else np.int64)
        return np.concatenate([none, *(getattr(part, name) for part in parts)])[order]

    return Load(**{name: joined(name) for name in _COLUMNS})
