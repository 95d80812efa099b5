"""Whether the load of a scenario is the same at all times, so that means of a long run have a meaning of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.scenario.arrivals import AtOnce, Closed, RecordedTasks, TraceArrivals
from inferencesim.scenario.workload import Active

if TYPE_CHECKING:
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.scenario.tasks import TaskClass
    from inferencesim.scenario.workload import WorkloadClass


def why_not_stationary(scenario: Scenario) -> str | None:
    """Say what makes the load of a scenario, or what serves it, change over its horizon; None where nothing does.

    Conversations and closed loops are stationary once they have begun: what they need for that is a warm-up. A
    registered arrival process of another package is taken to be, unless it has a profile.
    """
    work: list[WorkloadClass | TaskClass] = [*scenario.workload, *scenario.tasks]
    for each in work:
        changing = _why(each)
        if changing is not None:
            return changing
    if any(getattr(each, "at", None) is not None for each in scenario.failures):
        return "part of the fleet is down or slow at a set time"
    defer = scenario.flow.defer
    if defer is not None and (defer.windows or defer.price_below is not None):
        return "work is held until windows of the day"
    if scenario.economics.tariff:
        return "the price of electricity follows the hours of the day"
    return None


def _why(each: WorkloadClass | TaskClass) -> str | None:
    arrivals = each.arrivals
    if isinstance(arrivals, (TraceArrivals, RecordedTasks)):
        return f"{each.name} replays a trace"
    if isinstance(arrivals, AtOnce):
        return f"{each.name} arrives all at once"
    if isinstance(arrivals, Closed) and arrivals.requests is not None:
        return f"the clients of {each.name} stop after {arrivals.requests:,} requests"
    if getattr(arrivals, "profile", None) is not None:
        return f"the rate of {each.name} follows a profile"
    if each.active != Active():
        return f"{each.name} is active for a part of the time only"
    return None
