"""The same load under several placement policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.api import simulate
from inferencesim.scenario.policies import PolicyChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferencesim.results.run import Run
    from inferencesim.scenario.scenario import Scenario

#: What the demo compares: the naive policy, the balanced one, and the one that looks at money.
DEMO_POLICIES = ("premium_first", "least_normalised_load", "cheapest_feasible")


def with_placement(scenario: Scenario, choice: str | PolicyChoice) -> Scenario:
    """Return the scenario with another placement policy; a bare id takes the policy's default parameters."""
    placement = PolicyChoice(policy=choice) if isinstance(choice, str) else choice
    return scenario.model_copy(update={"routing": scenario.routing.model_copy(update={"placement": placement})})


def run_policies(
    scenario: Scenario,
    policies: Sequence[str | PolicyChoice],
    *,
    seed: int | None = None,
    progress: Callable[[float, float], None] | None = None,
    on_policy: Callable[[str], None] | None = None,
) -> list[Run]:
    """Simulate a scenario once per placement policy, in memory.

    Seed and streams are equal, so that every policy meets the same arrivals.

    Parameters
    ----------
    scenario : Scenario
        Its own placement policy is replaced.
    policies : sequence of str or PolicyChoice
    seed : int, optional
        Replaces the scenario's own.
    progress : callable, optional
        Called now and then with (simulated seconds, horizon) of the run under way.
    on_policy : callable, optional
        Called with the name of the policy about to run.

    Returns
    -------
    list of Run
        In the order of `policies`.

    Raises
    ------
    InputError
        For an unknown policy, before anything runs with it.
    """
    from inferencesim.simulation.plan import make_plan

    variants = [with_placement(scenario, choice) for choice in policies]
    for variant in variants:
        make_plan(variant)
    runs = []
    for variant in variants:
        if on_policy is not None:
            on_policy(variant.routing.placement.policy)
        runs.append(simulate(variant, seed, progress=progress))
    return runs
