"""``plan``: the cheapest fleet that keeps its promises, from the screen to the confirmed answer."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inferencesim.documents import validated
from inferencesim.experiments.planning.bound import Programme
from inferencesim.experiments.planning.candidates import make_space
from inferencesim.experiments.planning.demand import demands
from inferencesim.experiments.planning.document import Outcome, choice, document
from inferencesim.experiments.planning.goal import make_goal
from inferencesim.experiments.planning.load import require_classes, with_load
from inferencesim.experiments.planning.playing import Players
from inferencesim.experiments.planning.screen import dominated, infeasible
from inferencesim.experiments.planning.search import Found, Search, fresh
from inferencesim.experiments.trials import seed_of
from inferencesim.results.fleet_plan import FleetPlan, Marginal
from inferencesim.scenario.loading import load_planning, load_scenario
from inferencesim.scenario.planning import Planning
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.plan import make_plan
from inferencesim.units import to_si

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferencesim.experiments.planning.candidates import Space
    from inferencesim.experiments.planning.goal import Goal
    from inferencesim.experiments.planning.search import Tried

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
    progress: Callable[[float, float], None] | None = None,
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
        Called after each simulation with (simulations so far, infinity): nobody knows how many it will be.

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
    share = _SEARCH_SHARE if marginal else _MARGINAL_SHARE
    search = Search(space, problem.programme, goal, players, began + share * budget_s)
    if math.isinf(optimum.usd_per_h):
        if space.allows(space.largest()):
            search.screen(space.largest())
        why = "no fleet within the bounds is enough, not even at its most optimistic capacity"
        found, bound = Found(None, complete=True, stopped=why, rejected=()), None
    else:
        found, bound = search.run(space.own()), optimum.usd_per_h
    more = None
    if found.answer is not None and marginal and time.monotonic() < began + _MARGINAL_SHARE * budget_s:
        fleet, complete = _with_more(problem, goal, found.answer, players, began + _MARGINAL_SHARE * budget_s)
        if fleet is not None and fleet.usd_per_h < found.answer.usd_per_h:
            # What is enough for more load is for less, most likely, and the search was not complete.
            found = search.reconsidered(found, fleet.fleet)
        more = _marginal(problem, goal, found, fleet, complete)
    return document(Outcome(problem.programme, search, found, bound, more), began)


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


def _with_more(
    problem: _Problem, goal: Goal, answer: Tried, players: Players, ends_at: float
) -> tuple[Tried | None, bool]:
    """Return the fleet for more load, and whether nothing cheaper is left."""
    space = problem.space.with_scenario(with_load(problem.space.scenario, MORE_LOAD))
    again = _Problem.of(space, goal)
    found = Search(space, again.programme, goal, players, ends_at).run(answer.fleet, near=True)
    return found.answer, found.complete


def _marginal(problem: _Problem, goal: Goal, found: Found, fleet: Tried | None, complete: bool) -> Marginal:
    """Return what more load costs, given the fleet for it."""
    if fleet is None or found.answer is None:
        return Marginal(load=MORE_LOAD, fleet=None, usd_per_h_per_percent=None, complete=False)
    further = (fleet.usd_per_h - found.answer.usd_per_h) / (100.0 * (MORE_LOAD - 1.0))
    return Marginal(
        load=MORE_LOAD,
        fleet=choice(problem.space, goal, fleet),
        usd_per_h_per_percent=further,
        # Where it is the same, fleets that are cheaper fell short under less load.
        complete=complete or fleet.fleet == found.answer.fleet,
    )
