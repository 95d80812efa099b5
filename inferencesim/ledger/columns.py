"""Requests by column, as the ledger reads them: many of one field, rather than all fields of one."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.kernel.tables import COMPLETED, RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.tasks import TaskLedger

#: Where the time of a request goes, in order; they sum to its E2E. The kernel books all but the last, the way to the
#: client and back.
TIME_PARTS = ("waiting_s", "prefill_s", "decode_s", "transfer_s", "preempted_s", "network_s")

_NAMES = RECORD.names or ()
#: Records read or written together, column by column: so few that they stay in the processor's cache meanwhile.
_TOGETHER = 2048


def fill(records: Records, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns of equal length into records, of whose fields they are."""
    fields = [(records[name], values) for name, values in columns.items()]
    for begin in range(0, records.size, _TOGETHER):
        rows = slice(begin, begin + _TOGETHER)
        for field, values in fields:
            field[rows] = values[rows]


class Columns:
    """The fields of some requests, each in memory of its own, and what follows from them, worked out once.

    Records keep a request together, as the kernel reads it; picked out of them
    one by one, their columns would be read across all of that memory each time.

    Parameters
    ----------
    records : ndarray of RECORD
    pool_of : ndarray of int64, shape (replicas,)
        The pool of each replica: from it comes one more field, `prefill_pool`, where a request was prefilled, if in
        another pool than it was placed in; else −1.
    tasks : TaskLedger
        From it comes `owner`, the class of tasks that a request is a call of; else −1.
    """

    def __init__(self, records: Records, pool_of: NDArray[np.int64], tasks: TaskLedger) -> None:
        self.size = records.size
        # All fields have eight bytes.
        fields = records.view(np.int64).reshape(records.size, len(_NAMES)).T
        words = np.empty(fields.shape, np.int64)
        for begin in range(0, records.size, _TOGETHER):
            rows = slice(begin, begin + _TOGETHER)
            words[:, rows] = fields[:, rows]
        self._columns: dict[str, NDArray[Any]] = {
            name: words[place].view(RECORD[name]) for place, name in enumerate(_NAMES)
        }
        replica = self["prefill_replica"]
        self._columns["prefill_pool"] = np.where(replica >= 0, pool_of[np.maximum(replica, 0)], -1)
        self._columns["owner"] = tasks.class_of(self["node"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[name]

    @cached_property
    def latencies(self) -> dict[str, NDArray[np.float64]]:
        """Queue time, TTFT, TPOT and E2E in seconds; NaN where there is none."""
        arrived, first = self["arrived_s"], self["first_token_s"]
        completed = self["outcome"] == COMPLETED
        gaps = self["output_tokens"] - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            tpot = np.where(completed & (gaps > 0), (self["finished_s"] - first) / gaps, np.nan)
        return {
            "queue_time_s": self["scheduled_s"] - arrived,
            "ttft_s": first - arrived,
            "tpot_s": tpot,
            "e2e_s": np.where(completed, self["finished_s"] - arrived, np.nan),
        }

    @cached_property
    def time_parts(self) -> dict[str, NDArray[np.float64]]:
        """:data:`TIME_PARTS` in seconds; the network's share is NaN for what did not complete."""
        parts = {name: self[name] for name in TIME_PARTS[:-1]}
        # The clock is a large number: what is left of a difference may be less than nothing by its rounding.
        return parts | {"network_s": np.maximum(self.latencies["e2e_s"] - sum(parts.values()), 0.0)}
