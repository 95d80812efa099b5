"""The same load on several fleets, or under several placement policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.api import simulate
from inferencesim.scenario.policies import PolicyChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferencesim.results.run import Run
    from inferencesim.scenario.scenario import Scenario


def with_placement(scenario: Scenario, choice: str | PolicyChoice) -> Scenario:
    """Return the scenario with another placement policy; a bare id takes the policy's default parameters."""
    placement = PolicyChoice(policy=choice) if isinstance(choice, str) else choice
    return scenario.model_copy(update={"routing": scenario.routing.model_copy(update={"placement": placement})})


def run_each(
    scenarios: Sequence[Scenario],
    *,
    progress: Callable[[float, float], None] | None = None,
    on_run: Callable[[Scenario], None] | None = None,
) -> list[Run]:
    """Simulate scenarios one after the other, in memory.

    With equal seeds, those that differ in fleet and policies only meet the same load.

    Parameters
    ----------
    scenarios : sequence of Scenario
    progress : callable, optional
        Called now and then with (simulated seconds, horizon) of the run under way.
    on_run : callable, optional
        Called with the scenario about to run.

    Raises
    ------
    InputError
        For an unknown name in any of them, before the first runs.
    """
    from inferencesim.simulation.plan import make_plan

    for scenario in scenarios:
        make_plan(scenario)
    runs = []
    for scenario in scenarios:
        if on_run is not None:
            on_run(scenario)
        runs.append(simulate(scenario, progress=progress))
    return runs
