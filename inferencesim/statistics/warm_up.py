"""How much of the beginning of a series is not like the rest: MSER-5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: Values averaged before the rule is applied.
BATCH = 5


def mser5(values: ArrayLike) -> int | None:
    """Return how many values at the beginning to leave out; None where the series does not settle in its first half.

    Of means of five values, so many are left out that the standard error which the rest would have, were it
    independent, is least: what is left out must reduce the spread by more than it costs in number (White, Cobb and
    Spratt, "A comparison of five steady-state truncation heuristics for simulation", WSC 2000). A minimum in the
    second half says that the run is too short, or never settles.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        In order of time; at least twenty, or None is returned.
    """
    series = np.asarray(values, dtype=np.float64)
    batches = series.size // BATCH
    if batches < 4:
        return None
    means = series[: batches * BATCH].reshape(batches, BATCH).mean(axis=1)
    means -= means.mean()  # the sums of squares below lose no digits
    left = np.arange(batches, 0, -1)
    sums, squares = np.cumsum(means[::-1])[::-1], np.cumsum(means[::-1] ** 2)[::-1]
    errors = np.maximum(squares - sums**2 / left, 0.0) / left**2
    # Of the last few the spread says nothing.
    least = int(np.argmin(errors[: batches - BATCH])) if batches > BATCH else int(np.argmin(errors[:-1]))
    return None if least > batches // 2 else least * BATCH
