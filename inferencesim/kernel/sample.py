"""Which tasks a run keeps the rows of: settled by a number of the task's own, so the same under every policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.jit import compiled, inlined
from inferencesim.kernel.views import mix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Integers

#: Numbers of tasks are below this.
_NUMBERS = 2**31
#: Tells the number that settles who is kept from all others that are drawn from the same key.
_SALT = 0x53414D50


def kept_below(share: float) -> int:
    """Return the number below which a `share` of all tasks have theirs: 1 keeps all, 0 none."""
    return round(share * _NUMBERS)


@inlined
def task_key(seed: int, class_index: int, task: int) -> int:
    """Return 31 random bits of a task's own."""
    return mix(mix(seed, class_index + 1), task + 1)


@inlined
def is_kept(key: int, below: int) -> bool:
    """Tell whether the rows of the task with this key are kept."""
    return mix(key, _SALT) < below


def are_kept(seed: int, share: float, class_index: Integers, task: Integers) -> NDArray[np.bool_]:
    """Tell for each row whether it is kept, by class and task.

    Parameters
    ----------
    seed : int
        The scenario's.
    share : float
        Of tasks.
    class_index, task : ndarray of int64, shape (rows,)
    """
    kept = np.zeros(task.size, np.bool_)
    _fill_kept(seed, kept_below(share), class_index, task, kept)
    return kept


@compiled
def _fill_kept(seed: int, below: int, class_index: Integers, task: Integers, kept: NDArray[np.bool_]) -> None:
    for row in range(task.size):
        kept[row] = is_kept(task_key(seed, class_index[row], task[row]), below)
