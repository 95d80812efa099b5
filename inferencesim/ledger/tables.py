"""From kernel records to the columns of the run's tables; names and units are the glossary's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inferencesim.kernel.tables import COMPLETED, OPEN, OUTCOMES, REJECTED, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.book import Book

#: Version of the tables' columns; every file carries it.
SCHEMA_VERSION = 1

#: Verdict on a request's promises.
PROMISE_OPEN, PROMISE_KEPT, PROMISE_MISSED = range(3)


def promise_verdicts(records: Records, book: Book, end_s: float) -> NDArray[np.int64]:
    """Return for each request whether its promises were kept, missed, or are still open.

    A request that did not complete missed its promise. One still inside at
    `end_s` is open, unless a promise is past keeping already.
    """
    promises, index = book.promises, records["class_index"]
    outcome = records["outcome"]
    arrived = records["arrived_s"]
    left = np.where(outcome == OPEN, end_s, records["finished_s"])
    first = np.where(np.isnan(records["first_token_s"]), np.inf, records["first_token_s"])
    e2e = left - arrived
    after_first = np.maximum(records["generated_tokens"] - 1, 0)
    tpot = np.where(after_first > 0, (left - first) / np.maximum(after_first, 1), 0.0)
    ttft = np.where(np.isinf(first) & (outcome == OPEN), e2e, first - arrived)
    missed = (ttft > _limit(promises.ttft_s[index])) | (e2e > _limit(promises.e2e_s[index]))
    slowdown = promises.slowdown[index]
    bound = np.isfinite(slowdown)
    if bound.any():
        alone = book.uncontended_e2e_s(records)
        missed |= bound & (e2e > _limit(slowdown * alone))
    missed |= (outcome == COMPLETED) & (tpot > _limit(promises.tpot_s[index]))
    verdict = np.where(missed, PROMISE_MISSED, PROMISE_KEPT)
    verdict[(outcome == OPEN) & ~missed] = PROMISE_OPEN
    verdict[(outcome != OPEN) & (outcome != COMPLETED)] = PROMISE_MISSED
    return verdict


def _limit(promised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a promise with room for rounding: clock times are differences of large numbers."""
    return promised * (1.0 + 1e-9) + 1e-9


def latencies(records: Records) -> dict[str, NDArray[np.float64]]:
    """Return queue time, TTFT, TPOT and E2E in seconds; NaN where there is none."""
    arrived, first = records["arrived_s"], records["first_token_s"]
    completed = records["outcome"] == COMPLETED
    gaps = records["output_tokens"] - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot = np.where(completed & (gaps > 0), (records["finished_s"] - first) / gaps, np.nan)
    return {
        "queue_time_s": records["scheduled_s"] - arrived,
        "ttft_s": first - arrived,
        "tpot_s": tpot,
        "e2e_s": np.where(completed, records["finished_s"] - arrived, np.nan),
    }


#: Where the time of a request goes, in order; they sum to its E2E. The kernel books all but the last, the way to the
#: client and back.
TIME_PARTS = ("waiting_s", "prefill_s", "decode_s", "transfer_s", "preempted_s", "network_s")


def time_parts(records: Records) -> dict[str, NDArray[np.float64]]:
    """Return :data:`TIME_PARTS` in seconds; the network's share is NaN for what did not complete."""
    parts = {name: records[name] for name in TIME_PARTS[:-1]}
    e2e_s = np.where(records["outcome"] == COMPLETED, records["finished_s"] - records["arrived_s"], np.nan)
    # The clock is a large number: what is left of a difference may be less than nothing by its rounding.
    return parts | {"network_s": np.maximum(e2e_s - sum(parts.values()), 0.0)}


def _names(codes: NDArray[np.integer], names: Sequence[str], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    indices = pa.array(codes.astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))


def _number(values: NDArray[np.float64]) -> pa.Array:
    """Return a column in which NaN has become null."""
    return pa.array(values, from_pandas=True)


def _rare(values: NDArray[np.float64]) -> pa.Array:
    """Return such a column of what most runs have nothing of."""
    return pa.nulls(values.size, pa.float64()) if np.isnan(values).all() else _number(values)


def request_table(records: Records, book: Book, verdicts: NDArray[np.int64]) -> pa.Table:
    """Return the requests table of some records; `verdicts` are their :func:`promise_verdicts`."""
    placed = records["pool"] >= 0
    pool = np.maximum(records["pool"], 0)
    still = records["outcome"] == OPEN
    prefill_pool = book.prefill_pool(records)
    elsewhere = prefill_pool >= 0
    times, parts = latencies(records), time_parts(records)
    network_s = parts.pop("network_s")
    media_s = np.where(records["media_s"] > 0.0, records["media_s"], np.nan)
    columns = {
        "request_id": pa.array(records["request_id"]),
        "class": _names(records["class_index"], book.classes),
        "task": pa.array(records["task"]),
        "session": pa.array(records["session"], mask=records["session"] < 0),
        "prompt_tokens": pa.array(records["prompt_tokens"]),
        "cached_tokens": pa.array(records["cached_tokens"]),
        "output_tokens": pa.array(records["output_tokens"]),
        "generated_tokens": pa.array(records["generated_tokens"]),
        "arrived_s": pa.array(records["arrived_s"]),
        "scheduled_s": _number(records["scheduled_s"]),
        "first_token_s": _number(records["first_token_s"]),
        "finished_s": pa.array(records["finished_s"], mask=still),
        **{name: _number(values) for name, values in times.items()},
        **{name: pa.array(values) for name, values in parts.items()},
        "network_s": _number(network_s),
        "media_s": _rare(media_s),
        "real_time_factor": _rare(times["e2e_s"] / media_s),
        "pool": _names(pool, book.pools, ~placed),
        "replica": pa.array(records["replica"], mask=~placed),
        "prefill_pool": _names(np.maximum(prefill_pool, 0), book.pools, ~elsewhere),
        "prefill_replica": pa.array(records["prefill_replica"], mask=~elsewhere),
        "outcome": _names(records["outcome"], OUTCOMES),
        "reason": _names(records["reason"], VERDICTS, records["outcome"] != REJECTED),
        "promise_kept": pa.array(verdicts == PROMISE_KEPT, mask=verdicts == PROMISE_OPEN),
        "preemptions": pa.array(records["preemptions"]),
        "busy_s": pa.array(records["busy_s"]),
        "energy_j": pa.array(records["energy_j"]),
        "prefill_busy_s": pa.array(records["prefill_busy_s"]),
        "prefill_energy_j": pa.array(records["prefill_energy_j"]),
        "attributed_cost_usd": pa.array(book.attributed_usd(records)),
    }
    return pa.table(columns).replace_schema_metadata({"inferencesim_schema": str(SCHEMA_VERSION)})


def decision_table(
    decisions: Records, verdicts: NDArray[np.uint8], scores: NDArray[np.float64], book: Book
) -> pa.Table:
    """Return the decisions table: one row per request, one verdict and one score per pool."""
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
    return pa.table(columns).replace_schema_metadata({"inferencesim_schema": str(SCHEMA_VERSION)})
