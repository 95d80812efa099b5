"""The interval of a difference between two means that have nothing in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.statistics.intervals import Interval, around, student

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def welch_interval(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the interval of mean(a) − mean(b), of independent values whose spreads may differ.

    The degrees of freedom are those of Welch and Satterthwaite, not rounded (Welch, "The generalization of 'Student's'
    problem when several different population variances are involved", Biometrika 34, 1947).

    Parameters
    ----------
    a, b : array_like of float, shapes (n,) and (m,)
        At least two each.
    confidence : float

    Raises
    ------
    ValueError
        For fewer values.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(first.size, second.size) < 2:
        msg = f"an interval needs two values of each; there are {first.size} and {second.size}"
        raise ValueError(msg)
    difference = float(first.mean() - second.mean())
    own, other = float(first.var(ddof=1)) / first.size, float(second.var(ddof=1)) / second.size
    if own + other == 0.0:
        return around(difference, 0.0, confidence)
    freedom = (own + other) ** 2 / (own**2 / (first.size - 1) + other**2 / (second.size - 1))
    return around(difference, student(confidence, freedom) * math.sqrt(own + other), confidence)
