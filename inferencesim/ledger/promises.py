"""Verdicts on promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.tables import COMPLETED, OPEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.ledger.book import Book
    from inferencesim.ledger.columns import Columns
    from inferencesim.ledger.tasks import TaskLedger

#: Verdict on a request's or a task's promises; nobody waits any more for what a task gave up while it went on.
PROMISE_OPEN, PROMISE_KEPT, PROMISE_MISSED, GIVEN_UP = range(4)


def promise_verdicts(requests: Columns, book: Book, tasks: TaskLedger, end_s: float) -> NDArray[np.int64]:
    """Return for each request whether its promises were kept, missed, are still open, or bind nobody any more.

    A request that did not complete missed its promise. One still inside at
    `end_s` is open, unless a promise is past keeping already. A call that its
    task could do without has none.
    """
    promises, index = book.promises, requests["class_index"]
    outcome = requests["outcome"]
    arrived = requests["arrived_s"]
    left = np.where(outcome == OPEN, end_s, requests["finished_s"])
    first = np.where(np.isnan(requests["first_token_s"]), np.inf, requests["first_token_s"])
    e2e = left - arrived
    after_first = np.maximum(requests["generated_tokens"] - 1, 0)
    tpot = np.where(after_first > 0, (left - first) / np.maximum(after_first, 1), 0.0)
    ttft = np.where(np.isinf(first) & (outcome == OPEN), e2e, first - arrived)
    missed = (ttft > with_rounding(promises.ttft_s[index])) | (e2e > with_rounding(promises.e2e_s[index]))
    slowdown = promises.slowdown[index]
    bound = np.isfinite(slowdown)
    if bound.any():
        alone = book.uncontended_e2e_s(requests)
        missed |= bound & (e2e > with_rounding(slowdown * alone))
    missed |= (outcome == COMPLETED) & (tpot > with_rounding(promises.tpot_s[index]))
    verdict = np.where(missed, PROMISE_MISSED, PROMISE_KEPT)
    verdict[(outcome == OPEN) & ~missed] = PROMISE_OPEN
    verdict[(outcome != OPEN) & (outcome != COMPLETED)] = PROMISE_MISSED
    verdict[tasks.given_up(requests)] = GIVEN_UP
    return verdict


def with_rounding(promised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a promise with room for rounding: clock times are differences of large numbers."""
    return promised * (1.0 + 1e-9) + 1e-9
