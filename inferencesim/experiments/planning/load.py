"""The same scenario with more load, or less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError, did_you_mean
from inferencesim.scenario.arrivals import AtOnce, ByTasks, Closed, RecordedTasks, TraceArrivals

if TYPE_CHECKING:
    from collections.abc import Collection

    from inferencesim.scenario.scenario import Scenario


def class_names(scenario: Scenario) -> tuple[str, ...]:
    """Return what has arrivals or promises of its own: classes of the workload, then of tasks."""
    return (*(each.name for each in scenario.workload), *(each.name for each in scenario.tasks))


def require_classes(scenario: Scenario, classes: Collection[str], where: str = "--class") -> None:
    """Refuse names that are of no class.

    Raises
    ------
    InputError
        Naming the first, and the nearest that there is.
    """
    known = class_names(scenario)
    for name in classes:
        if name not in known:
            raise InputError(
                where, f"no class of the workload or of tasks is called {name!r}", did_you_mean(name, known)
            )


def with_load(scenario: Scenario, factor: float, classes: Collection[str] = ()) -> Scenario:
    """Return a scenario in which classes, all unless some are named, arrive `factor` times as often.

    Rates are multiplied, gaps of traces compressed; of bursts and closed loops, the number of requests and of clients,
    rounded, at least one. Streams of random numbers remain, so that two factors meet the same requests, sooner or
    later.
    """
    update = {}
    for name in ("workload", "tasks"):
        update[name] = [
            each.model_copy(update={"arrivals": _times(each.arrivals, factor)})
            if not classes or each.name in classes
            else each
            for each in getattr(scenario, name)
        ]
    return scenario.model_copy(update=update)


def _times(arrivals: Any, factor: float) -> Any:
    if isinstance(arrivals, ByTasks):
        return arrivals
    if isinstance(arrivals, (TraceArrivals, RecordedTasks)):
        return arrivals.model_copy(update={"rate_scale": arrivals.rate_scale * factor})
    if isinstance(arrivals, AtOnce):
        return arrivals.model_copy(update={"requests": max(1, round(arrivals.requests * factor))})
    if isinstance(arrivals, Closed):
        return arrivals.model_copy(update={"clients": max(1, round(arrivals.clients * factor))})
    return arrivals.model_copy(update={"rate": arrivals.rate * factor})
