"""Playing fleets: what each attains and costs, replication by replication, no fleet twice."""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from inferencesim.documents import document_digest
from inferencesim.experiments.execution import carry_out
from inferencesim.experiments.parallel import value_of
from inferencesim.experiments.processes import Processes
from inferencesim.experiments.trials import plan_of, play, seed_of, unrecorded
from inferencesim.simulation.compiling import is_cached
from inferencesim.statistics.intervals import mean_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from inferencesim.results.records.requests import ClassSummary
    from inferencesim.results.records.summary import Summary
    from inferencesim.scenario.scenario import Scenario

#: What stands for all classes together.
OVERALL = "all"

#: Seconds of one simulation from which processes pay for being started.
_WORTH_A_PROCESS_S = 0.5


class Trial(NamedTuple):
    """One simulation.

    Attributes
    ----------
    usd_per_h : float
        All money of the window, per hour.
    energy_w : float
        Site power of the window.
    attained : dict of float
        Share of promises kept by class of the workload or of tasks, and :data:`OVERALL`; of a class that promises
        nothing, the share completed of what was not cancelled. Without those of which nothing arrived.
    provider_share : float
        Requests completed by providers / all completed.
    """

    usd_per_h: float
    energy_w: float
    attained: dict[str, float]
    provider_share: float


def trial(tree: dict[str, Any]) -> Trial:
    """Play a scenario as a file would hold it."""
    return trial_of(play(plan_of(tree)))


def trial_of(summary: Summary) -> Trial:
    """Return what a planner wants to know of a summary."""
    hours = summary.window.length_s / 3600.0
    attained = {each.name: share for each in summary.classes if (share := _attained(each)) is not None}
    # Requests that are followed up are tasks of the same name: promises are those of the class.
    tasks = {each.name: each.slo_attainment for each in summary.tasks if each.name not in attained}
    tasks[OVERALL] = summary.fleet.slo_attainment
    attained |= {name: share for name, share in tasks.items() if share is not None}
    completed = sum(each.completed for each in summary.pools) + sum(each.completed for each in summary.providers)
    bought = sum(each.completed for each in summary.providers)
    return Trial(
        usd_per_h=summary.fleet.cost_usd / hours,
        energy_w=summary.fleet.site_energy_j / summary.window.length_s,
        attained=attained,
        provider_share=bought / completed if completed else 0.0,
    )


def _attained(each: ClassSummary) -> float | None:
    if each.slo_attainment is not None:
        return each.slo_attainment
    asked = each.arrived - each.cancelled
    return each.completed / asked if asked else None


class Attainment(NamedTuple):
    """The share of promises kept in several replications: its mean, and what it is at least at the confidence."""

    mean: float
    lower: float


def attainment(shares: Sequence[float], confidence: float) -> Attainment:
    """Return mean and lower confidence limit (one-sided, Student's t over replications) of shares."""
    if len(shares) < 2:
        return Attainment(shares[0], shares[0])
    # What leaves as much out below as above, leaves out half of that below.
    found = mean_interval(shares, 2.0 * confidence - 1.0)
    return Attainment(found.estimate, found.low)


class Players:
    """Plays scenarios on several processes, each scenario and seed once.

    Processes are started when simulations turn out to be long enough to pay for them.

    Parameters
    ----------
    jobs : int
        Processes at most.
    progress : callable, optional
        Called after each simulation with (simulations so far, infinity): nobody knows how many it will be.
    """

    def __init__(self, jobs: int = 1, progress: Callable[[float, float], None] | None = None) -> None:
        self.jobs = jobs
        self._progress = progress
        self._known: dict[tuple[str, int], Trial] = {}
        self._crew: Processes | None = None
        self._longest_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._crew is not None:
            self._crew.__exit__(kind, problem, trace)

    @property
    def simulations(self) -> int:
        """How many have been played."""
        return len(self._known)

    def play(self, asked: Sequence[tuple[Scenario, int]]) -> list[Trial]:
        """Return a trial for each scenario and number of its replication."""
        keys = [(document_digest(scenario), replication) for scenario, replication in asked]
        missing = {
            key: unrecorded(scenario) | {"seed": seed_of(scenario.seed, replication)}
            for key, (scenario, replication) in zip(keys, asked, strict=True)
            if key not in self._known
        }
        # One here first: it compiles, and shows how long they take.
        while missing and (self.jobs == 1 or len(missing) == 1 or self._longest_s < _WORTH_A_PROCESS_S):
            key = next(iter(missing))
            began = time.monotonic()
            self._note(key, trial(missing.pop(key)))
            self._longest_s = max(self._longest_s, time.monotonic() - began if is_cached() else 0.0)
        if missing:
            if self._crew is None:
                self._crew = Processes(self.jobs)
            left = list(missing)
            pieces = enumerate(functools.partial(trial, missing[key]) for key in left)
            for report in carry_out(pieces, self._crew):
                self._note(left[report.place], value_of(report))
        return [self._known[key] for key in keys]

    def _note(self, key: tuple[str, int], result: Trial) -> None:
        self._known[key] = result
        if self._progress is not None:
            self._progress(self.simulations, math.inf)
