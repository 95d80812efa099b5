"""The least work that a load makes: what any fleet must do to keep a given share of its promises.

Requests that may be dropped are, the heaviest first and for each kind of work anew; requests of one class are sorted
into bins, in which each is taken to be as small as the smallest, and what is above that may be done anywhere.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.scenario.arrivals import ByTasks, Closed
from inferencesim.workload.content import shared_tokens
from inferencesim.workload.load import generate_load

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from inferencesim.scenario.scenario import Scenario
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.workload.load import Load

    Floats = NDArray[np.float64]

#: Kinds of work, columns of all arrays here: decode steps (tokens after the first), tokens of context that they read,
#: prompt tokens, pairs of prompt tokens that attend to each other; the last two also of tokens that no cache can hold.
KINDS = ("decoded", "read", "prompt", "pairs", "fresh", "fresh_pairs")
DECODED, READ, PROMPT, PAIRS, FRESH, FRESH_PAIRS = range(len(KINDS))

#: Bins of a class along prompt and along output.
_BINS = 3

#: Slices of a window at most.
_MOST_SLICES = 24


@dataclass(frozen=True)
class ClassDemand:
    """Of one class in one slice, all replications together.

    Attributes
    ----------
    index : int
        Of the class.
    needed : float
        Requests whose promises have to be kept.
    bins : ndarray of float64, shape (bins,)
        Requests in each bin.
    least : ndarray of float64, shape (bins, kinds)
        Work of the smallest request of a bin.
    total : ndarray of float64, shape (kinds,)
        Work of the `needed` smallest requests.
    """

    index: int
    needed: float
    bins: Floats
    least: Floats
    total: Floats


@dataclass(frozen=True)
class Slice:
    """What arrives within some seconds, and how long there is to do it.

    Attributes
    ----------
    seconds : float
        Of all replications together, up to the last moment at which a promise can be kept.
    whole : bool
        Whether it is the whole window.
    demands : tuple of ClassDemand
    """

    seconds: float
    whole: bool
    demands: tuple[ClassDemand, ...]


def lateness(each: WorkloadClass, longest: float) -> float:
    """Return the seconds from the arrival of a request of up to `longest` decoded tokens in which its promises end."""
    promise = each.promise
    limits = [limit for limit in (promise.e2e, promise.deadline) if limit is not None]
    if promise.ttft is not None and (promise.tpot is not None or longest == 0.0):
        limits.append(promise.ttft + (promise.tpot or 0.0) * longest)
    return min(limits, default=math.inf)


def demands(
    scenario: Scenario, seeds: Sequence[int], slo: float, binding: Collection[int], bought: Collection[int]
) -> tuple[Slice, ...]:
    """Return the whole window, and its slices, of the loads that some seeds draw.

    Parameters
    ----------
    scenario : Scenario
    seeds : sequence of int
        One replication each.
    slo : float
        Share of each class's promises that are to be kept on average over the replications.
    binding : collection of int
        The classes that have to.
    bought : collection of int
        Classes that providers may serve: only those of their requests count that leave in the window, since what
        leaves later is billed later.
    """
    loads = [generate_load(scenario.workload, scenario.horizon, seed, Path()) for seed in seeds]
    classes = {}
    for index in sorted(binding):
        each = scenario.workload[index]
        if not isinstance(each.arrivals, (ByTasks, Closed)):
            classes[index] = _Drawn(each, index, loads, scenario, slo, index in bought)
    start, stop = scenario.warm_up, scenario.horizon
    end = scenario.horizon + scenario.drain
    whole = Slice(
        seconds=len(loads) * (min(end, stop + max((one.late_s for one in classes.values()), default=0.0)) - start),
        whole=True,
        demands=tuple(one.between(start, stop) for one in classes.values()),
    )
    urgent = [one for one in classes.values() if one.late_s < (stop - start) / 4.0]
    if not urgent:
        return (whole,)
    count = min(_MOST_SLICES, int((stop - start) / (2.0 * min(one.late_s for one in urgent))))
    length = (stop - start) / count
    urgent = [one for one in urgent if one.late_s <= length]
    late = max(one.late_s for one in urgent)
    edges = np.linspace(start, stop, count + 1)
    return (
        whole,
        *(
            Slice(
                seconds=len(loads) * (min(end, after + late) - before),
                whole=False,
                demands=tuple(one.between(before, after) for one in urgent),
            )
            for before, after in itertools.pairwise(edges.tolist())
        ),
    )


class _Drawn:
    """All requests of one class that arrive in the windows of the replications."""

    def __init__(
        self, each: WorkloadClass, index: int, loads: Sequence[Load], scenario: Scenario, slo: float, bought: bool
    ) -> None:
        self.index = index
        own = [load.of((load.class_index == index) & (load.arrived_s >= scenario.warm_up)) for load in loads]
        self.work = np.concatenate([np.zeros((0, len(KINDS))), *(_work(each, load, index) for load in own)])
        self.arrived_s = np.concatenate([np.zeros(0), *(load.arrived_s for load in own)])
        # What is asked again has a new arrival, and as long again.
        longest = float(self.work[:, DECODED].max(initial=0.0))
        self.late_s = math.inf if each.is_followed_up else lateness(each, longest)
        # Shares are averaged over replications of unlike sizes: as if all dropped requests were of the largest.
        dropped = (1.0 - slo) * len(own) * max((len(load) for load in own), default=0) * _requests_of_one(each)
        if each.promise == type(each.promise)():
            dropped += sum(int(np.isfinite(load.cancel_after_s).sum()) for load in own)
        self.dropped = dropped + 1e-6
        if bought:
            kept = self.arrived_s < scenario.horizon - self.late_s
            self.work, self.arrived_s = self.work[kept], self.arrived_s[kept]

    def between(self, start: float, stop: float) -> ClassDemand:
        """Return the demand of what arrives in [start, stop)."""
        work = self.work[(self.arrived_s >= start) & (self.arrived_s < stop)]
        needed = max(0, math.ceil(len(work) - self.dropped))
        bins, least = _binned(work)
        return ClassDemand(self.index, float(needed), bins, least, np.sort(work, axis=0)[:needed].sum(axis=0))


def _requests_of_one(each: WorkloadClass) -> float:
    """Return how many requests one of the load may become: only one of them has to be kept."""
    times = 1.0
    if each.answers is not None:
        times *= len(each.accepted_models) * (1.0 + each.answers.retries)
    if each.retry is not None:
        times *= 1.0 + each.retry.attempts
    return times


def _work(each: WorkloadClass, load: Load, index: int) -> Floats:
    """Return the work of requests, shape (requests, kinds)."""
    prompt = load.prompt_tokens.astype(np.float64)
    decoded = load.output_tokens - 1.0
    shared = np.full(len(load), float(shared_tokens(each)))
    if load.chain_tokens.size:
        shared = np.maximum(shared, load.chain_blocks * float(load.chain_tokens[index]))
    fresh = np.maximum(0.0, prompt - shared)
    read = decoded * prompt + decoded * (decoded + 1.0) / 2.0
    return np.stack([decoded, read, prompt, prompt**2 / 2.0, fresh, fresh**2 / 2.0], axis=1)


def _binned(work: Floats) -> tuple[Floats, Floats]:
    """Return sizes and smallest requests of the bins, those of one third of prompts and one third of outputs each."""
    if not len(work):
        return np.zeros(1), np.zeros((1, len(KINDS)))
    shares = np.arange(1, _BINS) / _BINS
    place = np.zeros(len(work), np.int64)
    for kind in (DECODED, PROMPT):
        edges = np.quantile(work[:, kind], shares)
        place = place * _BINS + np.searchsorted(edges, work[:, kind], side="right")
    members = [work[place == one] for one in np.unique(place)]
    return np.array([float(len(one)) for one in members]), np.array([one.min(axis=0) for one in members])
