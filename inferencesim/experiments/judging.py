"""From trials to estimates, differences and conclusions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.results.comparison import BEST, Estimate, MeanDifference
from inferencesim.results.figures import better
from inferencesim.statistics.intervals import bonferroni, mean_interval
from inferencesim.statistics.stopping import replications_needed, two_stage_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.results.comparison import Conclusion, Trial
    from inferencesim.statistics.intervals import Interval


@dataclass(frozen=True)
class Family:
    """All comparisons that are made together, whose intervals hold together.

    Attributes
    ----------
    alternatives : tuple of str
    against : str
        One of them, or ``best``.
    confidence : float
    half_width : float or None
        Wanted of the differences in the first metric, as a share of the mean of what they are compared with.
    """

    alternatives: tuple[str, ...]
    against: str
    confidence: float
    half_width: float | None

    def comparisons(self, metrics: int) -> int:
        """Return how many there are: who is best is known afterwards, so that all pairs may be compared with it."""
        others = len(self.alternatives) - 1
        return metrics * (others * (others + 1) // 2 if self.against == BEST else others)

    def corrected(self, metrics: int) -> float:
        """Return the confidence of each interval."""
        return bonferroni(self.confidence, self.comparisons(metrics))

    def base(self, metric: str, trials: Sequence[Trial]) -> str:
        """Return what the others are compared with: by name, or the best at a metric."""
        if self.against != BEST:
            return self.against
        sign = -1.0 if better(metric) == "more" else 1.0
        means = {name: _mean(_values(trials, name, metric)) for name in self.alternatives}
        return min(self.alternatives, key=lambda name: np.inf if means[name] is None else sign * (means[name] or 0.0))

    def needed(self, trials: Sequence[Trial], metrics: Sequence[str], first: int) -> int:
        """Return how many replications the wanted half-width needs, by those of the first stage; those, without one."""
        most, metric = first, metrics[0]
        # Which of them will be the best is not known yet.
        bases = self.alternatives if self.against == BEST else (self.against,)
        for base in bases:
            mean = _mean(_values(trials, base, metric))
            for name in self.alternatives:
                pairs = _pairs(trials, name, base, metric)
                if name != base and mean and self.half_width is not None and pairs is not None:
                    strays = pairs[0] - pairs[1]
                    length = self.half_width * abs(mean)
                    most = max(most, replications_needed(strays, length, self.corrected(len(metrics))))
        return most


@dataclass(frozen=True)
class Judgement:
    """What trials say.

    Attributes
    ----------
    estimates : tuple of Estimate
    differences : tuple of MeanDifference
    reached : bool or None
        Whether the wanted half-width was reached; None where none was wanted.
    """

    estimates: tuple[Estimate, ...]
    differences: tuple[MeanDifference, ...]
    reached: bool | None


def judged(
    family: Family, trials: Sequence[Trial], metrics: Sequence[str], followed: Sequence[str], first: int
) -> Judgement:
    """Return the means of all metrics that were followed, and the differences of those that are compared.

    `first` is the number of replications of the first stage.
    """
    stage = first if family.half_width is not None else None
    estimates = tuple(
        _estimate(trials, name, metric, family.confidence, stage) for metric in followed for name in family.alternatives
    )
    differences = tuple(
        _difference(trials, name, base, metric, family.corrected(len(metrics)), stage)
        for metric in metrics
        for base in [family.base(metric, trials)]
        for name in family.alternatives
        if name != base
    )
    return Judgement(estimates, differences, _reached(family, trials, differences, metrics[0], first))


def _reached(
    family: Family, trials: Sequence[Trial], rows: Sequence[MeanDifference], metric: str, first: int
) -> bool | None:
    """Tell whether the differences of a metric are known as well as was wanted, by the means of the first stage."""
    if family.half_width is None:
        return None
    of_first = [each for each in trials if each.replication < first]
    for row in rows:
        if row.metric == metric:
            mean = _mean(_values(of_first, row.against, metric))
            if row.low is None or row.high is None or mean is None:
                return False
            # A hair more is rounding.
            if (row.high - row.low) / 2.0 > family.half_width * abs(mean) * (1.0 + 1e-9):
                return False
    return True


def _estimate(trials: Sequence[Trial], name: str, metric: str, confidence: float, first: int | None) -> Estimate:
    values = _values(trials, name, metric)
    interval = None if values is None else _interval(values, confidence, first)
    return Estimate(
        alternative=name,
        metric=metric,
        mean=_mean(values),
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        replications=0 if values is None else values.size,
    )


def _difference(
    trials: Sequence[Trial], name: str, base: str, metric: str, confidence: float, first: int | None
) -> MeanDifference:
    pairs = _pairs(trials, name, base, metric)
    if pairs is None:
        return MeanDifference(
            alternative=name, against=base, metric=metric, difference=None, low=None, high=None, relative=None,
            conclusion="unknown", variance_ratio=None, replications=0,
        )  # fmt: skip
    own, others = pairs
    interval = _interval(own - others, confidence, first)
    mean, apart = float(others.mean()), float(own.var() + others.var())
    return MeanDifference(
        alternative=name,
        against=base,
        metric=metric,
        difference=interval.estimate,
        low=interval.low,
        high=interval.high,
        relative=interval.estimate / abs(mean) if mean else None,
        conclusion=_conclusion(metric, interval),
        variance_ratio=float((own - others).var()) / apart if apart > 0.0 else None,
        replications=own.size,
    )


def _conclusion(metric: str, interval: Interval) -> Conclusion:
    """Say which is better, where the interval excludes that neither is."""
    if interval.low <= 0.0 <= interval.high:
        return "no difference shown"
    more = interval.low > 0.0
    wanted = better(metric)
    if wanted is None:
        return "higher" if more else "lower"
    return "better" if more == (wanted == "more") else "worse"


def _interval(values: np.ndarray, confidence: float, first: int | None) -> Interval:
    """Return the interval of a mean; where the first stage decided how many there are, by Stein's rule."""
    if first is None or values.size <= first:
        return mean_interval(values, confidence)
    return two_stage_interval(values, first, confidence)


def _values(trials: Sequence[Trial], name: str, metric: str) -> np.ndarray | None:
    """Return a metric in the replications of an alternative; None where one lacks it, or where there are not two."""
    found = [each.figures.get(metric) for each in trials if each.alternative == name and each.error is None]
    return None if len(found) < 2 or None in found else np.array(found, np.float64)


def _pairs(trials: Sequence[Trial], name: str, base: str, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a metric of two alternatives in the replications that both have; None as of :func:`_values`."""
    both = [
        {each.replication: each.figures.get(metric) for each in trials if each.alternative == one and not each.error}
        for one in (name, base)
    ]
    shared = sorted(both[0].keys() & both[1].keys())
    found = np.array([[one[replication] for replication in shared] for one in both], dtype=np.float64)
    return None if len(shared) < 2 or np.isnan(found).any() else (found[0], found[1])


def _mean(values: np.ndarray | None) -> float | None:
    return None if values is None else float(values.mean())
