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

#: A request in the tally: 92 bytes.
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
        ("held_s", np.float32),
        ("queue_time_s", np.float32),
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


def _tally_of(requests: Columns, verdicts: NDArray[np.int64]) -> Records:
    """Return the TALLY of some requests; `verdicts` are those on their promises."""
    rows = np.empty(requests.size, TALLY)
    columns = {name: requests[name] for name in _COPIED} | requests.latencies | requests.time_parts
    columns["left_s"] = requests["finished_s"]
    columns["promise"] = verdicts
    fill(rows, columns)
    return rows


class Tally:
    """Grows by the requests that leave."""

    def __init__(self) -> None:
        self._parts: list[Records] = []

    def add(self, requests: Columns, book: Book, tasks: TaskLedger, end_s: float) -> NDArray[np.int64]:
        """Take some requests in, and return the verdicts on their promises."""
        verdicts = promise_verdicts(requests, book, tasks, end_s)
        self._parts.append(_tally_of(requests, verdicts))
        return verdicts

    def rows(self) -> Records:
        """Return all requests as one TALLY array, in the order in which they left."""
        # As bytes: NumPy joins records field by field, at a tenth of the speed.
        parts = [part.view(np.uint8) for part in self._parts]
        return np.concatenate([np.zeros(0, np.uint8), *parts]).view(TALLY)
