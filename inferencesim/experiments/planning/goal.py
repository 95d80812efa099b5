"""What a fleet has to attain, and how sure that has to be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from inferencesim.errors import InputError
from inferencesim.experiments.planning.playing import attainment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.experiments.planning.playing import Attainment, Trial

#: Rounding of shares.
_ROUNDING = 1e-12


class Goal(NamedTuple):
    """The share of promises that is to be kept.

    Attributes
    ----------
    slo : float
    classes : tuple of str
        Which have to; empty: all, and all together.
    confidence : float
        Of the lower limit that has to be there.
    replications : int
        Fresh ones, that confirm an answer.
    """

    slo: float
    classes: tuple[str, ...]
    confidence: float
    replications: int

    def shares(self, trials: Sequence[Trial]) -> dict[str, Attainment]:
        """Return what some replications of one fleet attain, of whatever has to, the lowest first."""
        names = dict.fromkeys(name for each in trials for name in each.attained if self.binds(name))
        found = {name: attainment([each.attained.get(name, 1.0) for each in trials], self.confidence) for name in names}
        return dict(sorted(found.items(), key=lambda item: item[1].lower))

    def binds(self, name: str) -> bool:
        """Tell whether a class has to keep its promises."""
        return name in self.classes if self.classes else True

    def shortfall(self, trials: Sequence[Trial]) -> float:
        """Return by how much the worst class falls short on average; 0 where all keep their promises."""
        worst = min((each.mean for each in self.shares(trials).values()), default=self.slo)
        return max(0.0, self.slo - _ROUNDING - worst)

    def is_met(self, trials: Sequence[Trial]) -> bool:
        """Tell whether all classes keep their promises at the confidence."""
        return all(each.lower >= self.slo - _ROUNDING for each in self.shares(trials).values())


def make_goal(slo: float, classes: Sequence[str], confidence: float, replications: int) -> Goal:
    """Check and return a goal.

    Raises
    ------
    InputError
        For shares that are none, or fewer than two replications.
    """
    if not 0.0 < slo <= 1.0 or math.isnan(slo):
        raise InputError("--slo", f"attainment {slo:.4g} is no share above 0 and up to 1", "Write attainment=99%.")
    if not 0.5 < confidence < 1.0:
        raise InputError("--confidence", f"{confidence:.4g} is not between 0.5 and 1", "Write a share such as 95%.")
    if replications < 2:
        raise InputError(
            "--replications", f"{replications} says nothing of how replications differ", "Ask for 2 at least."
        )
    # Per cents come with rounding: 95 % is 0.95.
    return Goal(round(slo, 12), tuple(classes), round(confidence, 12), replications)
