"""Mean and percentiles, of values and of what was counted in bins; ratios that may not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.gaps import BINS, BINS_PER_OCTAVE, SHORTEST_S
from inferencesim.results.records.base import Distribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERCENTILES = (50, 90, 95, 99)

_OCTAVES, _PLACES = np.divmod(np.arange(BINS - 1), BINS_PER_OCTAVE)
#: What stands for the gaps of each bin, seconds: its middle.
_GAPS_S = np.concatenate([[0.0], SHORTEST_S * 2.0**_OCTAVES * (1.0 + (_PLACES + 0.5) / BINS_PER_OCTAVE)])

_NOTHING = Distribution(mean=None, p50=None, p90=None, p95=None, p99=None)


def distribution(values: NDArray[np.floating]) -> Distribution:
    """Return mean and percentiles of what is not NaN."""
    known = values[~np.isnan(values)].astype(np.float64)
    if known.size == 0:
        return _NOTHING
    return _distribution(float(known.mean()), np.percentile(known, _PERCENTILES))


def gap_distribution(counts: NDArray[np.float64]) -> Distribution:
    """Return mean and percentiles of the gaps between tokens that were counted in the bins of the kernel's histogram.

    A percentile is the middle of the bin in which so many of the tokens have
    been seen: within 0.8 % of the gap itself.
    """
    # Tokens per step are fractions with speculation: what is left of a difference may be less than nothing.
    tokens = np.maximum(counts, 0.0)
    total = float(tokens.sum())
    # Less than half a token is rounding.
    if total < 0.5:
        return _NOTHING
    seen = np.cumsum(tokens)
    bins = np.searchsorted(seen, seen[-1] * np.array(_PERCENTILES) / 100.0)
    return _distribution(float(tokens @ _GAPS_S) / total, _GAPS_S[bins])


def _distribution(mean: float, percentiles: NDArray[np.float64]) -> Distribution:
    p50, p90, p95, p99 = (float(value) for value in percentiles)
    return Distribution(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99)


def per(amount: float, count: float) -> float | None:
    """Return `amount` / `count`; None where there is nothing to divide by."""
    return amount / count if count > 0 else None
