"""What a search found, as the document that ``plan`` prints and the scenario file that ``run`` takes."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from inferencesim.documents import document_digest
from inferencesim.errors import InputError
from inferencesim.experiments.planning.playing import OVERALL
from inferencesim.experiments.planning.screen import rate_at_most
from inferencesim.results.fleet_plan import FleetChoice, FleetPlan, Kept, Marginal, Need, Removed, Screened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.experiments.planning.bound import Programme
    from inferencesim.experiments.planning.candidates import Fleet, Space
    from inferencesim.experiments.planning.goal import Goal
    from inferencesim.experiments.planning.search import Found, Search, Tried
    from inferencesim.scenario.scenario import Scenario


class Outcome(NamedTuple):
    """All that a plan came to know.

    Attributes
    ----------
    programme : Programme
    search : Search
    found : Found
    bound_usd_per_h : float or None
        None where no fleet is enough.
    marginal : Marginal or None
    """

    programme: Programme
    search: Search
    found: Found
    bound_usd_per_h: float | None
    marginal: Marginal | None


def document(outcome: Outcome, began: float) -> FleetPlan:
    """Return the document; what one replica less of each kind would do is played for it, where it was not yet.

    Parameters
    ----------
    outcome : Outcome
    began : float
        When the plan did, by :func:`time.monotonic`.
    """
    search, found, bound = outcome.search, outcome.found, outcome.bound_usd_per_h
    space, goal, answer = search.space, search.goal, found.answer
    scenario = space.scenario
    needs = [] if answer is None else _needs(space, goal, answer, search)
    tried = list(search.tried.values())
    nearest = min(tried, key=lambda one: (one.shortfall, one.usd_per_h), default=None)
    others = [one for one in tried if one.holds and answer is not None and one.fleet != answer.fleet]
    refused = {one.fleet for one in found.rejected}
    runner_up = min((one for one in others if one.fleet not in refused), key=lambda one: one.usd_per_h, default=None)
    chosen = [one for one in tried if answer is None or one.fleet != answer.fleet] + ([answer] if answer else [])
    return FleetPlan(
        name=scenario.name,
        question=scenario.question,
        scenario_digest=document_digest(scenario),
        seed=scenario.seed,
        slo=goal.slo,
        confidence=goal.confidence,
        replications=goal.replications,
        classes=goal.classes,
        answer=None if answer is None else choice(space, goal, answer),
        runner_up=None if runner_up is None else choice(space, goal, runner_up),
        best=None if answer is not None or nearest is None else choice(space, goal, nearest),
        scenario=None if answer is None else scenario_tree(space.scenario_of(answer.fleet)),
        bound_usd_per_h=bound,
        gap=None if answer is None or not bound else answer.usd_per_h / bound - 1.0,
        complete=found.complete,
        stopped=found.stopped,
        rejected=tuple(choice(space, goal, one) for one in found.rejected),
        needs=tuple(needs),
        marginal=outcome.marginal,
        screened=tuple(_screened(outcome.programme)),
        removed=tuple(Removed(name=one.name, why=one.why) for one in space.dropped),
        front=tuple(choice(space, goal, one) for one in _front(goal, chosen)),
        tried=tuple(choice(space, goal, one) for one in sorted(tried, key=lambda one: one.usd_per_h)),
        simulations=search.players.simulations,
        seconds=time.monotonic() - began,
    )


def choice(space: Space, goal: Goal, tried: Tried) -> FleetChoice:
    """Return a fleet that was played as the document has it."""
    trials = tried.trials
    return FleetChoice(
        pools={one.name: count for count, one in zip(tried.fleet.counts, space.candidates, strict=True) if count},
        providers=tuple(one.name for used, one in zip(tried.fleet.providers, space.providers, strict=True) if used),
        usd_per_h=tried.usd_per_h,
        energy_w=math.fsum(each.energy_w for each in trials) / len(trials),
        provider_share=math.fsum(each.provider_share for each in trials) / len(trials),
        replications=len(trials),
        kept=tuple(Kept(name=name, mean=share.mean, lower=share.lower) for name, share in goal.shares(trials).items()),
    )


def _needs(space: Space, goal: Goal, answer: Tried, search: Search) -> list[Need]:
    """Return what goes wrong without one replica of each kind, and without each provider."""
    found = []
    smaller: list[tuple[str, Fleet]] = []
    for place, count in enumerate(answer.fleet.counts):
        if count:
            counts = tuple(number - (one == place) for one, number in enumerate(answer.fleet.counts))
            smaller.append((space.candidates[place].name, answer.fleet._replace(counts=counts)))
    for place, used in enumerate(answer.fleet.providers):
        if used:
            providers = tuple(one if other != place else 0 for other, one in enumerate(answer.fleet.providers))
            smaller.append((space.providers[place].name, answer.fleet._replace(providers=providers)))
    for name, fleet in smaller:
        if not space.allows(fleet):
            why = "the bounds, or a class that nobody else may serve, ask for it"
            found.append(Need(candidate=name, class_name=None, kept=None, why=why))
            continue
        tried = search.tried.get(fleet) or search.played([fleet], range(1))[0]
        search.tried.setdefault(fleet, tried)
        shares = sorted(goal.shares(tried.trials).items(), key=lambda item: item[1].mean)
        if not shares:
            continue
        worst, share = next(((one, kept) for one, kept in shares if one != OVERALL), shares[0])
        why = "falls short" if share.mean < goal.slo else "kept when it was screened, but is not cheaper or not sure"
        found.append(Need(candidate=name, class_name=worst, kept=share.mean, why=why))
    return found


def _screened(programme: Programme) -> list[Screened]:
    """Return what each candidate can do for each class at most."""
    space = programme.space
    found = []
    for demand in programme.slices[0].demands:
        for place in space.eligible[demand.index][0]:
            candidate = space.candidates[place]
            rate = rate_at_most(programme.usage(place, demand.index), demand)
            price = 1000.0 * candidate.usd_per_s
            found.append(
                Screened(
                    candidate=candidate.name,
                    class_name=space.scenario.workload[demand.index].name,
                    requests_per_s=rate,
                    usd_per_1000=None if rate is None else price / rate,
                )
            )
    return found


def _front(goal: Goal, tried: Sequence[Tried]) -> list[Tried]:
    """Return the fleets that no other one is at least as good as in all, and better in something."""

    def figures(one: Tried) -> tuple[float, float, float]:
        worst = min((share.mean for share in goal.shares(one.trials).values()), default=1.0)
        return one.usd_per_h, math.fsum(each.energy_w for each in one.trials) / len(one.trials), -worst

    known = [(figures(one), one) for one in tried]
    front = [
        one
        for own, one in known
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other, _ in known)
    ]
    return sorted(front, key=lambda one: one.usd_per_h)


def scenario_tree(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as a file would hold it, without what is as it is by default.

    What its classes and tasks took over from the library is written out.
    """
    workload = [each.model_copy(update={"like": None}) for each in scenario.workload]
    tasks = [each.model_copy(update={"like": None}) for each in scenario.tasks]
    written = scenario.model_copy(update={"workload": workload, "tasks": tasks})
    return written.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def plan_text(found: FleetPlan) -> str:
    """Return the answer as a scenario file, with how it was found at its head.

    Raises
    ------
    InputError
        If there is no answer.
    """
    if found.answer is None or found.scenario is None:
        raise InputError(found.name, "no fleet was found that keeps its promises", "There is no file to write.")
    worst = found.answer.worst
    kept = "" if worst is None else f", at least {100.0 * worst.lower:.2f} % ({worst.name})"
    bound = "" if found.bound_usd_per_h is None else f"; lower bound ${found.bound_usd_per_h:.2f}/h"
    lines = [
        f"The cheapest fleet found for {found.name}: {found.answer.text}.",
        f"${found.answer.usd_per_h:.2f}/h{bound}.",
        f"Promises kept: {100.0 * found.slo:g} % asked for at {100.0 * found.confidence:g} % confidence{kept}",
        f"in {found.replications} replications that it was not chosen by; {found.stopped}.",
        f"Scenario asked about: {found.scenario_digest}, {found.simulations} simulations.",
    ]
    body = yaml.safe_dump(found.scenario, sort_keys=False, allow_unicode=True, width=120)
    return "".join(f"# {line}\n" for line in lines) + body
