"""How much of what its chips can do a pool did: MFU and MBU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.work import peak_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.simulation.plan import PoolPlan


def achieved(pool: PoolPlan, counts: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return FLOPs and bytes per second of busy time over the peaks.

    Parameters
    ----------
    pool : PoolPlan
    counts : ndarray of float64, shape (n, fields of :class:`Counts`)
        What its replicas' steps processed.
    seconds : ndarray of float64, shape (n,)
        How long those steps took, in replica-seconds.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        MFU and MBU; NaN where nothing ran, and where models take turns: which of them did what is not counted.
    """
    if len(pool.variants) > 1:
        return np.full((seconds.size, 2), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = (counts @ pool.deployment.work_per_count) / seconds[:, None]
    shares: NDArray[np.float64] = np.where(seconds[:, None] > 0.0, rates, np.nan) / np.array(
        peak_rates(pool.deployment)
    )
    return shares
