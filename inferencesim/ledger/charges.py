"""What the requests of each class have been charged, and where."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.columns import Columns


class Charges:
    """Shares of busy time and of step energy, summed by the pool in which they were spent and by class.

    One request after another is added: however their table is cut into pieces,
    the sums round alike.

    Parameters
    ----------
    pools, classes : int
    """

    def __init__(self, pools: int, classes: int) -> None:
        # What was spent where a request was placed, and where else it was prefilled.
        self._busy_s = np.zeros((2, pools, classes))
        self._energy_j = np.zeros((2, pools, classes))

    @property
    def busy_s(self) -> NDArray[np.float64]:
        """Shape (pools, classes), seconds."""
        sums: NDArray[np.float64] = self._busy_s.sum(axis=0)
        return sums

    @property
    def energy_j(self) -> NDArray[np.float64]:
        """Shape (pools, classes), joules at the chip."""
        sums: NDArray[np.float64] = self._energy_j.sum(axis=0)
        return sums

    def copy(self) -> Charges:
        """Return the sums so far, to go on with apart."""
        return copy.deepcopy(self)

    def add(self, requests: Columns | Records) -> None:
        """Add some requests."""
        index = requests["class_index"]
        self._add(0, requests["pool"], index, requests["busy_s"], requests["energy_j"])
        self._add(1, requests["prefill_pool"], index, requests["prefill_busy_s"], requests["prefill_energy_j"])

    def _add(
        self,
        row: int,
        pool: NDArray[Any],
        class_index: NDArray[Any],
        busy_s: NDArray[np.float64],
        energy_j: NDArray[np.float64],
    ) -> None:
        there = np.flatnonzero(pool >= 0)
        cells = pool[there].astype(np.int64) * self._busy_s.shape[2] + class_index[there]
        np.add.at(self._busy_s[row].reshape(-1), cells, busy_s[there])
        np.add.at(self._energy_j[row].reshape(-1), cells, energy_j[there])
