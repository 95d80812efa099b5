"""``plan``: the cheapest fleet that keeps its promises, from the screen to the confirmed answer."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from inferencesim.documents import document_digest, validated
from inferencesim.errors import InputError
from inferencesim.experiments.planning.bound import Programme
from inferencesim.experiments.planning.candidates import make_space
from inferencesim.experiments.planning.demand import demands
from inferencesim.experiments.planning.goal import make_goal
from inferencesim.experiments.planning.load import require_classes, with_load
from inferencesim.experiments.planning.playing import OVERALL, Players
from inferencesim.experiments.planning.screen import dominated, infeasible, rate_at_most
from inferencesim.experiments.planning.search import Search, fresh
from inferencesim.experiments.trials import seed_of
from inferencesim.results.fleet_plan import FleetChoice, FleetPlan, Kept, Marginal, Need, Removed, Screened
from inferencesim.scenario.loading import load_planning, load_scenario
from inferencesim.scenario.planning import Planning
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.plan import make_plan
from inferencesim.units import to_si

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferencesim.experiments.planning.candidates import Fleet, Space
    from inferencesim.experiments.planning.goal import Goal
    from inferencesim.experiments.planning.search import Found, Tried

#: The load with which the plan is made anew, for the price of more: counts are whole numbers, 1 % may change none.
MORE_LOAD = 1.1

#: The shares of the time at which the search ends, and that for what more load costs; the rest is for confirmation.
_SEARCH_SHARE, _MARGINAL_SHARE = 0.5, 0.75

#: Defaults of the options.
CONFIDENCE, REPLICATIONS, BUDGET_S = 0.95, 5, 300.0


def plan(
    scenario: Scenario | dict[str, Any] | str | Path,
    *,
    slo: float | str,
    planning: Planning | dict[str, Any] | None = None,
    classes: Sequence[str] = (),
    confidence: float = CONFIDENCE,
    replications: int = REPLICATIONS,
    jobs: int = 1,
    budget_s: float = BUDGET_S,
    marginal: bool = True,
    progress: Callable[[int], None] | None = None,
) -> FleetPlan:
    """Find the cheapest fleet that keeps its promises.

    Parameters
    ----------
    scenario : Scenario, dict, str or Path
        A scenario, the mapping a file would hold, a file, or the name of a shipped one.
    slo : float or str
        Share of promises to keep, by each class and by all together, as in ``0.99`` or ``"99%"``.
    planning : Planning or dict, optional
        What may change; left out, the file's block ``planning``, or the counts of all pools.
    classes : sequence of str
        The classes (of the workload or of tasks) that have to; default all.
    confidence : float
        Of the one-sided lower limit of each share, over replications.
    replications : int
        Fresh ones that confirm the answer.
    jobs : int
        Processes.
    budget_s : float
        Seconds after which nothing cheaper is looked for; what was begun is ended and confirmed.
    marginal : bool
        Whether to plan again with more load.
    progress : callable, optional
        Called after each simulation with their number so far.

    Raises
    ------
    InputError
        For whatever is wrong with scenario or options.

    Examples
    --------
    >>> from inferencesim import plan
    >>> found = plan("mixed_fleet", slo="95%")  # doctest: +SKIP
    >>> found.answer.pools, found.answer.usd_per_h, found.bound_usd_per_h  # doctest: +SKIP
    """
    began = time.monotonic()
    described, options = described_scenario(scenario), _options(scenario, planning)
    goal = make_goal(to_si(slo, "fraction", "--slo"), classes, confidence, replications)
    require_classes(described, classes)
    make_plan(described)
    with Players(jobs, progress) as players:
        return _planned(described, options, goal, players, began, budget_s, marginal)


def described_scenario(scenario: Scenario | dict[str, Any] | str | Path) -> Scenario:
    """Return a scenario in whatever form it was given; a block ``planning`` is no part of it.

    Raises
    ------
    InputError
        For whatever is wrong with it.
    """
    if isinstance(scenario, (str, Path)):
        return load_scenario(scenario)
    if isinstance(scenario, dict):
        return validated({key: scenario[key] for key in scenario if key != "planning"}, Scenario, "scenario")
    return scenario


def _options(scenario: Scenario | dict[str, Any] | str | Path, planning: Planning | dict[str, Any] | None) -> Planning:
    """Return what may change: as given, else as the scenario's own block says."""
    if isinstance(planning, Planning):
        return planning
    if planning is None and isinstance(scenario, (str, Path)):
        return load_planning(scenario)
    if planning is None and isinstance(scenario, dict):
        planning = scenario.get("planning")
    return validated({} if planning is None else planning, Planning, "planning")


class _Problem(NamedTuple):
    """A space, its programme and its demand."""

    space: Space
    programme: Programme

    @classmethod
    def of(cls, space: Space, goal: Goal) -> _Problem:
        """Draw the loads of the replications that confirm an answer, and lay out the programme."""
        scenario = space.scenario
        binding = [index for index, each in enumerate(scenario.workload) if goal.binds(each.name)]
        bought = [index for index in binding if space.eligible[index][1]]
        seeds = [seed_of(scenario.seed, number) for number in fresh(goal)]
        slices = demands(scenario, seeds, goal.slo, binding, bought)
        return cls(space, Programme(space, slices, len(seeds)))


def _planned(
    scenario: Scenario, options: Planning, goal: Goal, players: Players, began: float, budget_s: float, marginal: bool
) -> FleetPlan:
    problem = _Problem.of(make_space(scenario, options), goal)
    space = _screened_space(problem)
    if space is not problem.space:
        problem = _Problem.of(space, goal)
    optimum = problem.programme.solve()
    search = Search(space, problem.programme, goal, players, began + _SEARCH_SHARE * budget_s)
    if math.isinf(optimum.usd_per_h):
        largest = search.played([space.largest()], range(1)) if space.allows(space.largest()) else []
        why = "no fleet within the bounds is enough, not even at its most optimistic capacity"
        return _document(problem, goal, None, largest, search, None, players, began, why)
    found = search.run(space.own())
    more = None
    if found.answer is not None and marginal and time.monotonic() < began + _MARGINAL_SHARE * budget_s:
        more = _more(problem, goal, found.answer, players, began + _MARGINAL_SHARE * budget_s)
    return _document(problem, goal, found, [], search, more, players, began, found.stopped, optimum.usd_per_h)


def _screened_space(problem: _Problem) -> Space:
    """Return the space without candidates that are useless, but for those that a class has nobody else for."""
    space = problem.space
    useless = infeasible(space, problem.programme.slices[0].demands)
    for index in range(len(space.scenario.workload)):
        own, bought = space.eligible[index]
        if not bought and all(place in useless for place in own):
            useless = {place: why for place, why in useless.items() if place not in own}
    if useless:
        space = space.without(useless)
    worse = dominated(space)
    return space.without(worse) if worse else space


def _more(problem: _Problem, goal: Goal, answer: Tried, players: Players, ends_at: float) -> Marginal:
    """Plan again with more load."""
    space = problem.space.with_scenario(with_load(problem.space.scenario, MORE_LOAD))
    again = _Problem.of(space, goal)
    search = Search(space, again.programme, goal, players, ends_at)
    (same,) = search.played([answer.fleet], fresh(goal))
    if goal.is_met(same.trials):
        found, complete = same, True
    else:
        searched = search.run(answer.fleet, near=True)
        if searched.answer is None:
            return Marginal(load=MORE_LOAD, fleet=None, usd_per_h_per_percent=None, complete=False)
        found, complete = searched.answer, searched.complete
    further = (found.usd_per_h - answer.usd_per_h) / (100.0 * (MORE_LOAD - 1.0))
    return Marginal(load=MORE_LOAD, fleet=_choice(space, goal, found), usd_per_h_per_percent=further, complete=complete)


def _document(
    problem: _Problem,
    goal: Goal,
    found: Found | None,
    played: Sequence[Tried],
    search: Search,
    more: Marginal | None,
    players: Players,
    began: float,
    stopped: str,
    bound: float | None = None,
) -> FleetPlan:
    space, scenario = problem.space, problem.space.scenario
    tried = [*search.tried.values(), *played]
    answer = None if found is None else found.answer
    nearest = min(tried, key=lambda one: (one.shortfall, one.usd_per_h), default=None)
    needs = [] if answer is None else _needs(space, goal, answer, search)
    tried = [*search.tried.values(), *played]
    others = [one for one in tried if one.holds and answer is not None and one.fleet != answer.fleet]
    rejected = () if found is None else found.rejected
    refused = {one.fleet for one in rejected}
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
        answer=None if answer is None else _choice(space, goal, answer),
        runner_up=None if runner_up is None else _choice(space, goal, runner_up),
        best=None if answer is not None or nearest is None else _choice(space, goal, nearest),
        scenario=None if answer is None else scenario_tree(space.scenario_of(answer.fleet)),
        bound_usd_per_h=bound,
        gap=None if answer is None or not bound else answer.usd_per_h / bound - 1.0,
        complete=found is not None and found.complete,
        stopped=stopped,
        rejected=tuple(_choice(space, goal, one) for one in rejected),
        needs=tuple(needs),
        marginal=more,
        screened=tuple(_screened(problem)),
        removed=tuple(Removed(name=one.name, why=one.why) for one in space.dropped),
        front=tuple(_choice(space, goal, one) for one in _front(goal, chosen)),
        simulations=players.simulations,
        seconds=time.monotonic() - began,
    )


def _choice(space: Space, goal: Goal, tried: Tried) -> FleetChoice:
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


def _screened(problem: _Problem) -> list[Screened]:
    """Return what each candidate can do for each class at most."""
    space, programme = problem.space, problem.programme
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

    What its classes took over from the library is written out.
    """
    workload = [each.model_copy(update={"like": None}) for each in scenario.workload]
    written = scenario.model_copy(update={"workload": workload})
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
