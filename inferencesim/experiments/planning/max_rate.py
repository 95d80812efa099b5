"""``max-rate``: the highest load that a given fleet carries within its promises."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

from inferencesim.documents import document_digest
from inferencesim.errors import InputError
from inferencesim.experiments.planning.fleet_plan import described_scenario
from inferencesim.experiments.planning.goal import make_goal
from inferencesim.experiments.planning.load import require_classes, with_load
from inferencesim.experiments.planning.playing import OVERALL, Players
from inferencesim.results.fleet_plan import MaxRate
from inferencesim.simulation.plan import make_plan
from inferencesim.statistics.intervals import mean_interval
from inferencesim.units import to_si

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from inferencesim.experiments.planning.goal import Goal
    from inferencesim.scenario.scenario import Scenario

#: Times the scenario's load beyond which nothing is looked for, either way.
MOST = 1024.0

#: How near to each other loads are that are carried and are not.
TOLERANCE = 0.02

CONFIDENCE, REPLICATIONS = 0.95, 5


class _Bracket(NamedTuple):
    """What is known of one replication: it carries `low`, and not `high`.

    Attributes
    ----------
    binding : str
        The class that keeps least at `high`.
    """

    low: float
    high: float
    binding: str

    @property
    def next(self) -> float | None:
        """The load to try next; None where nothing is left to learn."""
        if math.isinf(self.high):
            following = 1.0 if self.low == 0.0 else 2.0 * self.low
            return following if following <= MOST else None
        if self.low == 0.0:
            following = self.high / 2.0
            return following if following >= 1.0 / MOST else None
        return math.sqrt(self.low * self.high) if self.high > self.low * (1.0 + TOLERANCE) else None

    @property
    def factor(self) -> float:
        """The highest load carried, to the tolerance."""
        return self.low if math.isinf(self.high) or self.low == 0.0 else math.sqrt(self.low * self.high)


def max_rate(
    scenario: Scenario | dict[str, Any] | str | Path,
    *,
    slo: float | str,
    classes: Sequence[str] = (),
    confidence: float = CONFIDENCE,
    replications: int = REPLICATIONS,
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
) -> MaxRate:
    """Find the highest load that a fleet carries: the factor of its arrivals up to which all promises are kept.

    Each replication is searched by itself, by halving the interval between a
    load that it carries and one that it does not, on the same random numbers:
    a higher load is the same requests, sooner. Where attainment does not fall
    with the load, one of its crossings is found.

    Parameters
    ----------
    scenario : Scenario, dict, str or Path
    slo : float or str
        Share of promises to keep, by each class and by all together.
    classes : sequence of str
        Whose load is multiplied, while the others stay as they are; default all. Promises are to be kept by all
        classes in any case.
    confidence : float
        Of the two-sided interval.
    replications : int
    jobs : int
        Processes.
    progress : callable, optional
        Called after each simulation with (simulations so far, infinity): nobody knows how many it will be.

    Raises
    ------
    InputError
        For whatever is wrong with scenario or options.
    """
    began = time.monotonic()
    described = described_scenario(scenario)
    goal = make_goal(to_si(slo, "fraction", "--slo"), (), confidence, replications)
    require_classes(described, classes)
    make_plan(described)
    brackets = [_Bracket(0.0, math.inf, "") for _ in range(replications)]
    with Players(jobs, progress) as players:
        while True:
            following = {place: one.next for place, one in enumerate(brackets)}
            asked = [(place, factor) for place, factor in following.items() if factor is not None]
            if not asked:
                break
            trials = players.play([(with_load(described, factor, classes), place) for place, factor in asked])
            for (place, factor), one in zip(asked, trials, strict=True):
                if not one.attained and factor == 1.0:
                    raise InputError("workload", "no request arrives in the measurement window",
                                     "Give it a higher rate, or a longer horizon.")  # fmt: skip
                brackets[place] = _narrowed(brackets[place], factor, goal, one.attained)
        simulations = players.simulations
    factors = [one.factor for one in brackets]
    interval = mean_interval(factors, goal.confidence)
    return MaxRate(
        name=described.name,
        scenario_digest=document_digest(described),
        seed=described.seed,
        slo=goal.slo,
        confidence=goal.confidence,
        classes=tuple(classes),
        factor=interval.estimate,
        lower=max(0.0, interval.low),
        upper=interval.high,
        factors=tuple(factors),
        tolerance=TOLERANCE,
        binding=tuple(one.binding for one in brackets),
        at_limit=any(math.isinf(one.high) for one in brackets),
        simulations=simulations,
        seconds=time.monotonic() - began,
    )


def _narrowed(bracket: _Bracket, factor: float, goal: Goal, attained: dict[str, float]) -> _Bracket:
    """Return a bracket after one more load was tried."""
    worst = min((name for name in attained if name != OVERALL), key=lambda name: attained[name], default=None)
    if worst is None:  # so little load that nothing arrived: the answer is not further down
        return bracket._replace(high=factor)
    if attained[worst] >= goal.slo:
        return bracket._replace(low=factor)
    return bracket._replace(high=factor, binding=worst)
