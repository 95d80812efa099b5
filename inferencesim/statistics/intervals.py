"""Confidence intervals of means, of paired differences and of shares, and their correction for several comparisons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri, stdtrit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Interval:
    """An estimate, and the range that contains the truth with the stated confidence.

    Attributes
    ----------
    estimate, low, high : float
    confidence : float
        Share of such intervals that contain the truth.
    """

    estimate: float
    low: float
    high: float
    confidence: float

    @property
    def half_width(self) -> float:
        """Half of its length."""
        return (self.high - self.low) / 2.0

    def contains(self, value: float) -> bool:
        """Whether a value is inside, ends included."""
        return self.low <= value <= self.high


def student(confidence: float, degrees_of_freedom: float) -> float:
    """Return the two-sided quantile of Student's t: a fraction `confidence` of it lies within ± this."""
    return float(stdtrit(degrees_of_freedom, 0.5 + confidence / 2.0))


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of independent values: mean ± t s / √n.

    Exact for normal values, and near it for others where they are many (Student, "The probable error of a mean",
    Biometrika 6, 1908; Law, *Simulation Modeling and Analysis*, 5th ed., section 4.5).

    Parameters
    ----------
    values : array_like of float, shape (n,)
        At least two.
    confidence : float
        Above 0 and below 1.

    Raises
    ------
    ValueError
        For fewer than two values, or another confidence.
    """
    seen = np.asarray(values, dtype=np.float64)
    _require(seen.size, confidence)
    half = student(confidence, seen.size - 1) * float(seen.std(ddof=1)) / math.sqrt(seen.size)
    return around(float(seen.mean()), half, confidence)


def paired_interval(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of a − b, of values that belong together pair by pair.

    Pairs with something in common, such as the same load, differ by less than each varies alone: the variance of the
    difference is that of both less twice their covariance (Law, sections 10.2 and 11.2).

    Raises
    ------
    ValueError
        As :func:`mean_interval`, or for unequal numbers of values.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        msg = f"{first.size} values and {second.size} do not make pairs"
        raise ValueError(msg)
    return mean_interval(first - second, confidence)


def share_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's interval of a share: sensible near 0 and 1, too.

    Of independent trials (Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22,
    1927). Requests of one run are not independent: their shares are to be taken over replications.

    Raises
    ------
    ValueError
        For no trial, or more successes than trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        msg = f"{successes} of {trials} is no share"
        raise ValueError(msg)
    z = float(ndtri(0.5 + confidence / 2.0))
    share, weight = successes / trials, z * z / trials
    middle = (share + weight / 2.0) / (1.0 + weight)
    half = z / (1.0 + weight) * math.sqrt(share * (1.0 - share) / trials + weight / (4.0 * trials))
    # Where all trials agree, one end is the share itself, but for rounding.
    return Interval(share, min(share, middle - half), max(share, middle + half), confidence)


def bonferroni(confidence: float, comparisons: int) -> float:
    """Return the confidence each of several intervals needs so that all of them hold together with `confidence`.

    The chances of error add up at most (Bonferroni's inequality; Dunn, "Multiple comparisons among means", JASA 56,
    1961), whatever the intervals have in common.
    """
    return 1.0 - (1.0 - confidence) / max(1, comparisons)


def holm(p_values: Sequence[float], error: float = 0.05) -> tuple[bool, ...]:
    """Tell which of several hypotheses to reject so that any false rejection has at most the chance `error`.

    From the smallest p on, each is compared with error / (those that are left), until one exceeds it (Holm, "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979).
    """
    rejected = [False] * len(p_values)
    for rank, place in enumerate(np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable").tolist()):
        if p_values[place] > error / (len(p_values) - rank):
            break
        rejected[place] = True
    return tuple(rejected)


def around(estimate: float, half_width: float, confidence: float) -> Interval:
    """Return the interval estimate ± half_width."""
    return Interval(estimate, estimate - half_width, estimate + half_width, confidence)


def _require(values: int, confidence: float) -> None:
    if values < 2:
        msg = f"an interval needs two values; there are {values}"
        raise ValueError(msg)
    if not 0.0 < confidence < 1.0:
        msg = f"the confidence {confidence} is not between 0 and 1"
        raise ValueError(msg)
