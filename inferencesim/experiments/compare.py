"""Alternatives played on the same random numbers, again and again, until chance cannot explain the difference.

Every replication has a seed, and all alternatives meet it: what they have in common, the load, drops out of their
differences (common random numbers). Where the load is the same at all times, the first replications also say how long
a fleet that begins empty needs to settle, and no alternative is measured before all of them have.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferencesim.documents import document_digest
from inferencesim.errors import InputError, did_you_mean
from inferencesim.experiments.alternatives import same_load
from inferencesim.experiments.judging import Family, judged
from inferencesim.experiments.replications import Replications
from inferencesim.results.comparison import BEST, Alternative, Comparison
from inferencesim.results.figures import require_metrics
from inferencesim.results.policies import policies_of
from inferencesim.results.summarise import promises
from inferencesim.simulation.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferencesim.experiments.replications import Played
    from inferencesim.results.comparison import Trial
    from inferencesim.scenario.scenario import Scenario

#: Replications of each alternative unless a user says otherwise: fewer leave wide intervals.
REPLICATIONS = 10

#: At most so many where the interval decides.
AT_MOST = 100

#: What a plot draws: figures of every trial, compared or not.
PARETO = ("cost_per_completed_task_usd", "slo_attainment")

#: Metrics of the fleet that are compared unless others are asked for; to them come the promises of each class.
METRICS = (*PARETO, "ttft_s.p99", "energy_per_completed_task_j")


def compare_alternatives(
    scenarios: Mapping[str, Scenario],
    *,
    seed: int | None = None,
    replications: int = REPLICATIONS,
    half_width: float | None = None,
    at_most: int = AT_MOST,
    confidence: float = 0.95,
    metrics: Sequence[str] = (),
    against: str | None = None,
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
) -> Comparison:
    """Play alternatives on the same random numbers and compare their means; see :func:`inferencesim.compare`.

    Parameters
    ----------
    scenarios : mapping of str to Scenario
        At least two.
    seed, replications, half_width, at_most, confidence, metrics, against, jobs, progress
        As of :func:`inferencesim.compare`.

    Raises
    ------
    InputError
    """
    family = Family(tuple(scenarios), _against(against, scenarios), confidence, half_width)
    _check(replications, at_most, half_width, confidence)
    require_metrics(metrics, scenarios.values())
    asked = tuple(dict.fromkeys(metrics))
    base = next(iter(scenarios.values()))
    followed = tuple(dict.fromkeys((*(asked or _usual(scenarios)), *PARETO)))
    stage = Replications(scenarios, base.seed if seed is None else seed, followed, jobs, progress)
    first = stage.pilots(replications)
    _require_requests(first)
    compared = asked or _that_exist(followed, first)
    stage.play(range(replications), replications)
    needed = family.needed(stage.trials, compared, replications)
    played = max(replications, min(needed, at_most))
    stage.play(range(replications, played), played)
    alternatives = tuple(_alternative(name, each, stage.trials) for name, each in scenarios.items())
    results = judged(family, stage.trials, compared, followed, replications)
    return Comparison(
        question=base.question,
        seed=stage.seed,
        against=family.against,
        metrics=compared,
        confidence=confidence,
        comparisons=family.comparisons(len(compared)),
        replications=played,
        half_width=half_width,
        reached=results.reached,
        warm_up_s=stage.warm_up_s,
        notes=(*stage.notes(), *_notes(scenarios, alternatives, stage.trials, needed, played)),
        alternatives=alternatives,
        estimates=results.estimates,
        difference_rows=results.differences,
        trial_rows=tuple(stage.trials),
    )


def _usual(scenarios: Mapping[str, Scenario]) -> tuple[str, ...]:
    """Return the metrics compared unless others are asked for."""
    found = dict.fromkeys(METRICS)
    for each in scenarios.values():
        classes = [one.name for one in each.workload if promises(one.promise)]
        tasks = [one.name for one in each.tasks if one.promise.latency is not None]
        # Of a single class, the fleet's attainment says it.
        found |= dict.fromkeys(f"classes.{name}.slo_attainment" for name in classes if len(classes) > 1)
        found |= dict.fromkeys(f"tasks.{name}.slo_attainment" for name in tasks)
    return tuple(found)


def _that_exist(metrics: Sequence[str], first: Sequence[Played]) -> tuple[str, ...]:
    """Return the metrics that at least one alternative has: no comparison is spent on the others."""
    return tuple(name for name in metrics if any(each.trial.figures.get(name) is not None for each in first))


def _alternative(name: str, scenario: Scenario, trials: Sequence[Trial]) -> Alternative:
    own = [each for each in trials if each.alternative == name]
    states: dict[str, int] = {}
    for each in own:
        if each.state is not None:
            states[each.state] = states.get(each.state, 0) + 1
    shares = [each.open_share for each in own if each.open_share is not None]
    policies = policies_of(make_plan(scenario))
    return Alternative(
        name=name,
        scenario_digest=document_digest(scenario),
        placement=policies.placement.policy,
        balancing=policies.balancing.policy,
        oracle=policies.oracle,
        states=states,
        failed=sum(each.error is not None for each in own),
        open_share=sum(shares) / len(shares) if shares else None,
    )


def _notes(
    scenarios: Mapping[str, Scenario],
    alternatives: Sequence[Alternative],
    trials: Sequence[Trial],
    needed: int,
    played: int,
) -> list[str]:
    """Say what a reader of the differences must know."""
    notes = []
    if not same_load(scenarios):
        notes.append("The alternatives do not ask the same work: pairs have less in common than their random numbers.")
    if needed > played:
        notes.append(f"The wanted half-width needs about {needed:,} replications; {played:,} were allowed.")
    kept = [each for each in trials if each.error is None]
    distinct = {(each.alternative, *each.figures.values()) for each in kept}
    if len(distinct) <= len(scenarios) and played > 1:
        notes.append(
            "All replications are equal: nothing here is random. One says it all, and any difference is exact."
        )
    for each in alternatives:
        if each.failed:
            why = next(trial.error for trial in trials if trial.alternative == each.name and trial.error is not None)
            notes.append(f"{each.name}: {each.failed} of {played} replications failed and are left out: {why}")
        if "unstable" in each.states:
            drowned = f"unstable in {each.states['unstable']} of {played} replications"
            notes.append(f"{each.name}: {drowned}; its means depend on how long it is played.")
        if each.oracle:
            notes.append(f"{each.name} is a bound: one of its policies knows what no real system does.")
    return notes


def _require_requests(first: Sequence[Played]) -> None:
    if all(each.trial.error is not None for each in first):
        raise InputError("compare", f"no alternative can be played: {first[0].trial.error}")
    if all(each.trial.state == "empty" for each in first if each.trial.error is None):
        raise InputError(
            "workload", "no request arrives in the measurement window", "Give it a higher rate, or a longer horizon."
        )


def _against(against: str | None, scenarios: Mapping[str, Scenario]) -> str:
    if against is None:
        return next(iter(scenarios))
    if against not in (*scenarios, BEST):
        raise InputError(
            "--against", f"no alternative is called {against!r}", did_you_mean(against, [*scenarios, BEST])
        )
    return against


def _check(replications: int, at_most: int, half_width: float | None, confidence: float) -> None:
    if replications < 2:
        raise InputError(
            "--replications", f"{replications} leave no interval", "Give at least 2; for a single run there is run."
        )
    if not 0.0 < confidence < 1.0:
        raise InputError("--confidence", f"{confidence:g} is not between 0 and 1", "Write a share such as 95%.")
    if half_width is None:
        return
    if not 0.0 < half_width < math.inf:
        raise InputError("--half-width", f"{half_width:g} is not above zero", "Write a share such as 2%.")
    if at_most < replications:
        raise InputError(
            "--at-most", f"{at_most} is below the first {replications} replications", "Allow more, or begin with fewer."
        )
