"""Undoing quantised timestamps: rows that share one instant are spread over the time they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from inferencesim.workload.streams import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Above this share of zero gaps the timestamps of a trace are taken to be quantised.
QUANTISED_SHARE = 0.5


def zero_gap_share(time_s: NDArray[np.float64]) -> float:
    """Return which share of the gaps between consecutive rows is zero."""
    return float(np.mean(np.diff(time_s) == 0.0)) if len(time_s) > 1 else 0.0


def spread_batches(
    time_s: NDArray[np.float64], spread: float | Literal["auto"], seed: int, name: str
) -> NDArray[np.float64]:
    """Spread rows of one instant over the gap to the next.

    A batch at T gets sorted uniform times in [T, T + gap): what a Poisson
    process does given its count. With ``auto`` the gap is that to the next
    batch, but at most the median gap, since a longer one is a quiet time and
    no coarser clock; and nothing is done unless more than half of all gaps
    are zero. The order of rows is kept.

    Parameters
    ----------
    time_s : numpy.ndarray
        Shape (rows,), float64, seconds, not decreasing.
    spread : float or "auto"
        Seconds to spread each batch over, at most to the next batch; 0 leaves the times alone.
    seed, name : int, str
        Name the random stream.

    Returns
    -------
    numpy.ndarray
        Shape (rows,), float64, seconds, not decreasing.
    """
    if len(time_s) < 2 or spread == 0.0 or (spread == "auto" and zero_gap_share(time_s) <= QUANTISED_SHARE):
        return time_s
    starts = np.flatnonzero(np.concatenate(([True], np.diff(time_s) > 0)))
    gaps = np.diff(time_s[starts])
    widest = (float(np.median(gaps)) if gaps.size else 1.0) if spread == "auto" else spread
    widths = np.minimum(np.append(gaps, widest), widest)
    batch = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(time_s))))
    moved = time_s + stream(seed, "trace", name, "spread").random(len(time_s)) * widths[batch]
    # Batches do not overlap, so that sorting all times sorts within each: row i keeps its place.
    return np.sort(moved)
