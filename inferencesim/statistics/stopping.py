"""How many replications an interval of a wanted length takes: Stein's two stages.

To go on until the interval looks short enough stops too early too often: just when the spread happens to look small.
Stein's rule keeps the coverage. From a first stage comes the spread, from it the number of replications in all, and
the interval is made of the mean of all of them and the spread of the *first*. For normal values it covers the truth as
often as stated whatever the spread, since means and spreads are independent; it also does for several quantities at
once, where the one that needs most decides (Stein, "A two-sample test for a linear hypothesis whose power is
independent of the variance", Annals of Mathematical Statistics 16, 1945).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.statistics.intervals import Interval, around, student

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def replications_needed(first: ArrayLike, half_width: float, confidence: float = 0.95) -> int:
    """Return how many values, those of the first stage included, give an interval of ± `half_width` at most.

    Parameters
    ----------
    first : array_like of float, shape (n,)
        Values of the first stage; at least two.
    half_width : float
        Above zero.
    confidence : float

    Raises
    ------
    ValueError
        For fewer values, or no length.
    """
    seen = np.asarray(first, dtype=np.float64)
    if seen.size < 2 or not half_width > 0.0:
        msg = f"{seen.size} values and a half-width of {half_width} say not how many are needed"
        raise ValueError(msg)
    spread = student(confidence, seen.size - 1) * float(seen.std(ddof=1))
    return max(seen.size, math.ceil((spread / half_width) ** 2))


def two_stage_interval(values: ArrayLike, first: int, confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of all values, by the spread of the `first` of them: mean ± t s₁ / √n.

    Raises
    ------
    ValueError
        For a first stage of fewer than two values, or more than there are.
    """
    seen = np.asarray(values, dtype=np.float64)
    if not 2 <= first <= seen.size:
        msg = f"{first} of {seen.size} values are no first stage"
        raise ValueError(msg)
    half = student(confidence, first - 1) * float(seen[:first].std(ddof=1)) / math.sqrt(seen.size)
    return around(float(seen.mean()), half, confidence)
