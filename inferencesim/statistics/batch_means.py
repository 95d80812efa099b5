"""The interval of a mean from one run, whose values depend on each other: batch means.

Waits of requests that come one after another are alike, so that a thousand of them say less than a thousand
independent values would. Means of long batches hardly depend on each other any more. How long is found out: there are
:data:`MOST_BATCHES` at first, and neighbours are joined until von Neumann's ratio no longer shows a dependence
(Fishman, "Grouping observations in digital simulation", Management Science 24, 1978). Below :data:`FEWEST_BATCHES`
nothing is said: the run is too short. A dependence too weak for the test to see still widens the interval, by that of
a first-order process (Tafazzoli, Steiger and Wilson, "N-Skart: a nonsequential skewness- and autoregression-adjusted
batch-means procedure", IEEE Transactions on Automatic Control 56, 2011).

Batches here may hold different numbers of values, as those of equal time do: the mean is then the ratio of two sums,
and what varies is each batch's sum less the mean times its number (Law, *Simulation Modeling and Analysis*, 5th ed.,
section 9.5.3, on ratio estimators).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from inferencesim.statistics.intervals import Interval, around, student

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Powers of two; more than thirty gain next to nothing (Schmeiser, "Batch size effects in the analysis of
#: simulation output", Operations Research 30, 1982).
MOST_BATCHES = 32
FEWEST_BATCHES = 8

#: Chance with which batches that are independent are joined nevertheless.
_JOINED_FOR_NOTHING = 0.2


@dataclass(frozen=True)
class BatchMeans:
    """An interval by batch means.

    Attributes
    ----------
    interval : Interval
    batches : int
        That passed the test of independence.
    """

    interval: Interval
    batches: int


def batch_means(values: ArrayLike, confidence: float = 0.95) -> BatchMeans | None:
    """Return the interval of the mean of a stationary series; None where it is too short to tell.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        In their order; what does not fill the last batch is left out at the beginning.
    confidence : float
    """
    series = np.asarray(values, dtype=np.float64)
    size = series.size // MOST_BATCHES
    if size == 0:
        return None
    sums = series[series.size - size * MOST_BATCHES :].reshape(MOST_BATCHES, size).sum(axis=1)
    return ratio_of_batches(sums, np.full(MOST_BATCHES, float(size)), confidence)


def ratio_of_batches(
    sums: NDArray[np.float64], counts: NDArray[np.float64], confidence: float = 0.95
) -> BatchMeans | None:
    """Return the interval of the mean of values of which each batch's sum and number are known; None as above.

    Parameters
    ----------
    sums, counts : ndarray of float64, shape (MOST_BATCHES,)
        A batch may be empty, as long as not all are.
    confidence : float
    """
    total = float(counts.sum())
    if total == 0.0:
        return None
    mean = float(sums.sum()) / total
    while sums.size >= FEWEST_BATCHES:
        strays = sums - mean * counts
        if von_neumann(strays) > _JOINED_FOR_NOTHING:
            of_batches = math.sqrt(float((strays**2).sum()) * sums.size / (sums.size - 1))
            half = student(confidence, sums.size - 1) * of_batches * _widening(strays) / total
            return BatchMeans(around(mean, half, confidence), int(sums.size))
        sums, counts = sums.reshape(-1, 2).sum(axis=1), counts.reshape(-1, 2).sum(axis=1)
    return None


def _widening(strays: NDArray[np.float64]) -> float:
    """Return √((1 + φ) / (1 − φ)) of the correlation φ of neighbours, freed of its bias of −1/n; 1 without any."""
    square = float((strays**2).sum())
    if square == 0.0:
        return 1.0
    correlation = max(0.0, float(strays[1:] @ strays[:-1]) / square + 1.0 / strays.size)
    return math.sqrt((1.0 + correlation) / (1.0 - correlation))


def von_neumann(values: NDArray[np.float64]) -> float:
    """Return the chance that independent values follow each other as closely as these do.

    The mean square of successive differences over the variance is 2 where nothing depends on what came before, and
    less where neighbours are alike (von Neumann, "Distribution of the ratio of the mean square successive difference
    to the variance", Annals of Mathematical Statistics 12, 1941); about normal from some ten values on. Values that
    are all the same count as independent.
    """
    spread = values - values.mean()
    square = float((spread**2).sum())
    if square == 0.0:
        return 1.0
    ratio = float((np.diff(values) ** 2).sum()) / square
    deviation = 2.0 * math.sqrt((values.size - 2.0) / (values.size**2 - 1.0))
    return float(ndtr((ratio - 2.0) / deviation))
