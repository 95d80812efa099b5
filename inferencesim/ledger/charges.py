"""What the requests of each class have been charged, where, and for which tasks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.columns import Columns


class Charges:
    """Shares of busy time and of step energy, and the price of egress, summed by pool, by owner and by class.

    Time and energy are summed where they were spent, egress where the answer came from.

    Owner 0 are the requests that came by themselves; then come the classes of tasks.

    One request after another is added: however their table is cut into pieces,
    the sums round alike.

    Parameters
    ----------
    pools, classes, task_classes : int
    egress_usd_per_token : ndarray of float64, shape (classes,), optional
        Without it nothing is charged.
    """

    def __init__(
        self,
        pools: int,
        classes: int,
        task_classes: int = 0,
        egress_usd_per_token: NDArray[np.float64] | None = None,
    ) -> None:
        # What was spent where a request was placed, and where else it was prefilled.
        self._busy_s = np.zeros((2, pools, 1 + task_classes, classes))
        self._energy_j = np.zeros((2, pools, 1 + task_classes, classes))
        self._egress_usd_per_token = egress_usd_per_token
        self.egress_usd: NDArray[np.float64] = np.zeros((pools, 1 + task_classes, classes))

    @property
    def busy_s(self) -> NDArray[np.float64]:
        """Shape (pools, owners, classes), seconds."""
        sums: NDArray[np.float64] = self._busy_s.sum(axis=0)
        return sums

    @property
    def energy_j(self) -> NDArray[np.float64]:
        """Shape (pools, owners, classes), joules at the chip."""
        sums: NDArray[np.float64] = self._energy_j.sum(axis=0)
        return sums

    def copy(self) -> Charges:
        """Return the sums so far, to go on with apart."""
        return copy.deepcopy(self)

    def add(self, requests: Columns | Records) -> None:
        """Add some requests."""
        _, _, owners, classes = self._busy_s.shape
        pools = (0, requests["pool"]), (1, requests["prefill_pool"])
        parts = ("busy_s", "energy_j"), ("prefill_busy_s", "prefill_energy_j")
        payer = (requests["owner"].astype(np.int64) + 1) * classes + requests["class_index"]
        for (row, pool), (busy_s, energy_j) in zip(pools, parts, strict=True):
            there = np.flatnonzero(pool >= 0)
            cells = pool[there].astype(np.int64) * owners * classes + payer[there]
            np.add.at(self._busy_s[row].reshape(-1), cells, requests[busy_s][there])
            np.add.at(self._energy_j[row].reshape(-1), cells, requests[energy_j][there])
        if self._egress_usd_per_token is not None and self._egress_usd_per_token.any():
            there = np.flatnonzero(requests["pool"] >= 0)
            cells = requests["pool"][there].astype(np.int64) * owners * classes + payer[there]
            usd = requests["generated_tokens"] * self._egress_usd_per_token[requests["class_index"]]
            np.add.at(self.egress_usd.reshape(-1), cells, usd[there])
