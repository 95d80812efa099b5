"""The few columns of every request that a summary is made of, kept in memory and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.ledger.tables import latencies, promise_verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.book import Book

#: A request in the tally: 75 bytes.
TALLY = np.dtype(
    [
        ("class_index", np.int16),
        ("pool", np.int16),
        ("outcome", np.int8),
        ("reason", np.int8),
        ("promise", np.int8),
        ("arrived_s", np.float64),
        ("left_s", np.float64),  # NaN while inside
        ("queue_time_s", np.float32),
        ("ttft_s", np.float32),
        ("tpot_s", np.float32),
        ("e2e_s", np.float32),
        ("prompt_tokens", np.int32),
        ("generated_tokens", np.int32),
        ("preemptions", np.int32),
        ("busy_s", np.float64),
        ("energy_j", np.float64),
    ]
)


class Tally:
    """Grows by the requests that leave."""

    def __init__(self) -> None:
        self._parts: list[Records] = []

    def add(self, records: Records, book: Book, end_s: float) -> NDArray[np.int64]:
        """Take some records in, and return the verdicts on their promises."""
        verdicts = promise_verdicts(records, book, end_s)
        part = np.zeros(records.size, TALLY)
        for name in ("class_index", "pool", "outcome", "reason", "arrived_s", "prompt_tokens"):
            part[name] = records[name]
        for name in ("generated_tokens", "preemptions", "busy_s", "energy_j"):
            part[name] = records[name]
        part["left_s"] = records["finished_s"]
        part["promise"] = verdicts
        for name, values in latencies(records).items():
            part[name] = values
        self._parts.append(part)
        return verdicts

    def rows(self) -> Records:
        """Return all requests as one TALLY array, in the order in which they left."""
        if len(self._parts) != 1:
            self._parts = [np.concatenate(self._parts) if self._parts else np.zeros(0, TALLY)]
        return self._parts[0]
