"""The few columns of every request that a summary is made of, kept in memory and nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.ledger.columns import TIME_PARTS, fill
from inferencesim.ledger.promises import promise_verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.book import Book
    from inferencesim.ledger.columns import Columns
    from inferencesim.ledger.tasks import TaskLedger

#: A request in the tally: 100 bytes. What is held against the edges of the window is exact.
TALLY = np.dtype(
    [
        ("class_index", np.int16),
        ("pool", np.int16),
        ("provider", np.int16),
        ("prefill_pool", np.int16),  # where it was prefilled, if in another pool; else −1
        ("outcome", np.int8),
        ("reason", np.int8),
        ("released", np.int8),
        ("promise", np.int8),
        ("arrived_s", np.float64),
        ("left_s", np.float64),  # NaN while inside
        ("held_s", np.float64),
        ("queue_time_s", np.float64),
        ("ttft_s", np.float32),
        ("tpot_s", np.float32),
        ("e2e_s", np.float32),
        *[(name, np.float32) for name in TIME_PARTS],
        ("media_s", np.float32),
        ("prompt_tokens", np.int32),
        ("cached_tokens", np.int32),
        ("generated_tokens", np.int32),
        ("preemptions", np.int32),
    ]
)


#: What the tally takes from a request as it is.
_COPIED = (
    "class_index",
    "pool",
    "provider",
    "prefill_pool",
    "outcome",
    "reason",
    "released",
    "arrived_s",
    "held_s",
    "media_s",
    "prompt_tokens",
    "cached_tokens",
    "generated_tokens",
    "preemptions",
)


class Tally:
    """Grows by the requests that leave."""

    def __init__(self) -> None:
        self._rows: Records = np.empty(0, TALLY)
        self._count = 0

    def add(self, requests: Columns, book: Book, tasks: TaskLedger, end_s: float) -> NDArray[np.int64]:
        """Take some requests in, and return the verdicts on their promises."""
        verdicts = promise_verdicts(requests, book, tasks, end_s)
        columns = {name: requests[name] for name in _COPIED} | requests.latencies | requests.time_parts
        columns["left_s"] = requests["finished_s"]
        columns["promise"] = verdicts
        fill(self._next(requests.size), columns)
        return verdicts

    def rows(self) -> Records:
        """Return all requests as one TALLY array, in the order in which they left."""
        return self._rows[: self._count]

    def _next(self, count: int) -> Records:
        """Return the next rows, to be written."""
        begin, self._count = self._count, self._count + count
        if self._count > self._rows.size:
            # Where it stands, as a rule: parts joined at the end would take their memory, and its time, twice.
            self._rows.resize(self._count + self._count // 8, refcheck=False)
        return self._rows[begin : self._count]
