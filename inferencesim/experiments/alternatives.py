"""The alternatives of a comparison: scenarios, as they are or under other policies, and names that tell them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.errors import InputError
from inferencesim.scenario.policies import PolicyChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferencesim.scenario.scenario import Scenario

#: What may tell scenarios apart, from the coarse to the fine.
_TELLING: tuple[Callable[[Scenario], str], ...] = (
    lambda each: each.name,
    lambda each: each.variant or "as it is",
    lambda each: each.routing.placement.policy,
    lambda each: each.routing.balancing.policy,
)


def alternatives(
    scenarios: Sequence[Scenario],
    placements: Sequence[str] = (),
    balancings: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> dict[str, Scenario]:
    """Return every scenario under every placement and every balancing policy; its own where none are given.

    They are named by what tells them apart: scenario (or what `names` calls it), variant, policies; those that are
    alike by their numbers. A policy that a scenario uses already keeps the parameters it has there; another takes its
    defaults.

    Raises
    ------
    InputError
        For fewer than two, or a policy that is given twice.
    """
    for option, policies in (("--policy", placements), ("--balancing", balancings)):
        doubled = next((name for name in policies if list(policies).count(name) > 1), None)
        if doubled is not None:
            raise InputError(option, f"{doubled!r} is given twice", "Name each policy once.")
    found, called = [], []
    for place, scenario in enumerate(scenarios):
        routing = scenario.routing
        for placement in _choices(routing.placement, placements):
            for balancing in _choices(routing.balancing, balancings):
                changed = routing.model_copy(update={"placement": placement, "balancing": balancing})
                found.append(scenario.model_copy(update={"routing": changed}))
                called.append(None if names is None else names[place])
    if len(found) < 2:
        remedy = "Give two scenarios, or --policy, --balancing or --variant twice."
        raise InputError("compare", "there is nothing to compare with", remedy)
    words = [[of(each) for of in _TELLING] for each in found]
    if names is not None:
        words = [[str(name), *own[2:]] for name, own in zip(called, words, strict=True)]
    telling = [place for place in range(len(words[0])) if len({own[place] for own in words}) > 1]
    labels = [" / ".join(own[place] for place in telling) for own in words]
    if len(set(labels)) < len(labels):
        labels = [f"{number}: {label}".removesuffix(": ") for number, label in enumerate(labels, 1)]
    return dict(zip(labels, found, strict=True))


def _choices(own: PolicyChoice, names: Sequence[str]) -> list[PolicyChoice]:
    return [own if name == own.policy else PolicyChoice(policy=name) for name in names] or [own]


def same_load(scenarios: Mapping[str, Scenario]) -> bool:
    """Whether all of them ask the same work for the same time."""
    loads = [(each.horizon, each.workload, each.tasks) for each in scenarios.values()]
    return all(load == loads[0] for load in loads)
