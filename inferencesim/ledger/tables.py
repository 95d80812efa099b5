"""From kernel records to the columns of the run's tables; names and units are the glossary's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inferencesim.kernel.tables import COMPLETED, OPEN, OUTCOMES, PREDICTED, REJECTED, VERDICTS
from inferencesim.ledger.columns import TIME_PARTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.book import Book
    from inferencesim.ledger.columns import Columns

#: Version of the tables' columns; every file carries it.
SCHEMA_VERSION = 1

#: Verdict on a request's promises.
PROMISE_OPEN, PROMISE_KEPT, PROMISE_MISSED = range(3)


def promise_verdicts(requests: Columns, book: Book, end_s: float) -> NDArray[np.int64]:
    """Return for each request whether its promises were kept, missed, or are still open.

    A request that did not complete missed its promise. One still inside at
    `end_s` is open, unless a promise is past keeping already.
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
    return verdict


def with_rounding(promised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a promise with room for rounding: clock times are differences of large numbers."""
    return promised * (1.0 + 1e-9) + 1e-9


def _names(codes: NDArray[np.integer], names: Sequence[str], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    indices = pa.array(codes.astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))


def _number(values: NDArray[np.float64]) -> pa.Array:
    """Return a column in which NaN has become null."""
    return pa.array(values, from_pandas=True)


def _rare(values: NDArray[np.float64]) -> pa.Array:
    """Return such a column of what most runs have nothing of."""
    return pa.nulls(values.size, pa.float64()) if np.isnan(values).all() else _number(values)


def request_table(requests: Columns, book: Book, verdicts: NDArray[np.int64]) -> pa.Table:
    """Return the requests table; `verdicts` are their :func:`promise_verdicts`."""
    placed = requests["pool"] >= 0
    pool = np.maximum(requests["pool"], 0)
    still = requests["outcome"] == OPEN
    prefill_pool = requests["prefill_pool"]
    elsewhere = prefill_pool >= 0
    times, parts = requests.latencies, requests.time_parts
    media_s = np.where(requests["media_s"] > 0.0, requests["media_s"], np.nan)
    columns = {
        "request_id": pa.array(requests["request_id"]),
        "class": _names(requests["class_index"], book.classes),
        "task": pa.array(requests["task"]),
        "session": pa.array(requests["session"], mask=requests["session"] < 0),
        "prompt_tokens": pa.array(requests["prompt_tokens"]),
        "cached_tokens": pa.array(requests["cached_tokens"]),
        "output_tokens": pa.array(requests["output_tokens"]),
        "generated_tokens": pa.array(requests["generated_tokens"]),
        "arrived_s": pa.array(requests["arrived_s"]),
        "scheduled_s": _number(requests["scheduled_s"]),
        "first_token_s": _number(requests["first_token_s"]),
        "finished_s": pa.array(requests["finished_s"], mask=still),
        **{name: _number(values) for name, values in times.items()},
        **{name: pa.array(parts[name]) for name in TIME_PARTS[:-1]},
        "network_s": _number(parts["network_s"]),
        "media_s": _rare(media_s),
        "real_time_factor": _rare(times["e2e_s"] / media_s),
        "pool": _names(pool, book.pools, ~placed),
        "replica": pa.array(requests["replica"], mask=~placed),
        "prefill_pool": _names(np.maximum(prefill_pool, 0), book.pools, ~elsewhere),
        "prefill_replica": pa.array(requests["prefill_replica"], mask=~elsewhere),
        "outcome": _names(requests["outcome"], OUTCOMES),
        "reason": _names(requests["reason"], VERDICTS, requests["outcome"] != REJECTED),
        "promise_kept": pa.array(verdicts == PROMISE_KEPT, mask=verdicts == PROMISE_OPEN),
        "preemptions": pa.array(requests["preemptions"]),
        "busy_s": pa.array(requests["busy_s"]),
        "energy_j": pa.array(requests["energy_j"]),
        "prefill_busy_s": pa.array(requests["prefill_busy_s"]),
        "prefill_energy_j": pa.array(requests["prefill_energy_j"]),
        "attributed_cost_usd": pa.array(book.attributed_usd(requests)),
    }
    return pa.table(columns).replace_schema_metadata({"inferencesim_schema": str(SCHEMA_VERSION)})


def decision_table(
    decisions: Records,
    verdicts: NDArray[np.uint8],
    scores: NDArray[np.float64],
    book: Book,
    predictions: NDArray[np.float64] | None = None,
) -> pa.Table:
    """Return the decisions table: one row per request, one verdict, one score and, if kept, predictions per pool."""
    placed = decisions["pool"] >= 0
    columns = {
        "request_id": pa.array(decisions["request_id"]),
        "time_s": pa.array(decisions["time_s"]),
        "class": _names(decisions["class_index"], book.classes),
        "pool": _names(np.maximum(decisions["pool"], 0), book.pools, ~placed),
        "replica": pa.array(decisions["replica"], mask=~placed),
        "snapshot_age_s": pa.array(decisions["snapshot_age_s"]),
    }
    for index, name in enumerate(book.pools):
        columns[f"verdict_{name}"] = _names(verdicts[:, index], VERDICTS)
    for index, name in enumerate(book.pools):
        columns[f"score_{name}"] = _number(np.ascontiguousarray(scores[:, index]))
    if predictions is not None:
        for index, name in enumerate(book.pools):
            for place, quantity in enumerate(PREDICTED, len(PREDICTED) * index):
                columns[f"predicted_{quantity}_{name}"] = _number(np.ascontiguousarray(predictions[:, place]))
    return pa.table(columns).replace_schema_metadata({"inferencesim_schema": str(SCHEMA_VERSION)})
