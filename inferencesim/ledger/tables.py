"""From kernel records to the columns of the run's tables; names and units are the glossary's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from inferencesim.kernel.flow_tables import NOT_HELD, RELEASES
from inferencesim.kernel.graph_tables import ANSWERS, NOT_JUDGED
from inferencesim.kernel.tables import OPEN, OUTCOMES, PREDICTED, REJECTED, VERDICTS
from inferencesim.ledger.columns import TIME_PARTS
from inferencesim.ledger.formats import maybe, named, rare, versioned
from inferencesim.ledger.promises import GIVEN_UP, PROMISE_KEPT, PROMISE_OPEN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.ledger.book import Book
    from inferencesim.ledger.columns import Columns
    from inferencesim.ledger.tasks import TaskLedger


def request_table(requests: Columns, book: Book, tasks: TaskLedger, verdicts: NDArray[np.int64]) -> pa.Table:
    """Return the requests table; `verdicts` are those on their promises."""
    placed = requests["pool"] >= 0
    pool = np.maximum(requests["pool"], 0)
    still = requests["outcome"] == OPEN
    prefill_pool = requests["prefill_pool"]
    elsewhere = prefill_pool >= 0
    held = requests["released"] != NOT_HELD
    times, parts = requests.latencies, requests.time_parts
    media_s = np.where(requests["media_s"] > 0.0, requests["media_s"], np.nan)
    columns = {
        "request_id": requests["request_id"],
        "class": named(requests["class_index"], book.classes),
        "task": requests["task"],
        **_step_of(requests, tasks),
        "session": pa.array(requests["session"], mask=requests["session"] < 0),
        "prompt_tokens": requests["prompt_tokens"],
        "cached_tokens": requests["cached_tokens"],
        "output_tokens": requests["output_tokens"],
        "generated_tokens": requests["generated_tokens"],
        "arrived_s": requests["arrived_s"],
        "scheduled_s": maybe(requests["scheduled_s"]),
        "first_token_s": maybe(requests["first_token_s"]),
        "finished_s": pa.array(requests["finished_s"], mask=still),
        **{name: maybe(values) for name, values in times.items()},
        **{name: parts[name] for name in TIME_PARTS[:-1]},
        "network_s": maybe(parts["network_s"]),
        "held_s": rare(np.where(held, requests["held_s"], np.nan)),
        "held_until": named(requests["released"], RELEASES, ~held),
        "media_s": rare(media_s),
        "real_time_factor": rare(times["e2e_s"] / media_s),
        "pool": named(pool, book.pools, ~placed),
        "provider": named(np.maximum(requests["provider"], 0), book.providers.names, requests["provider"] < 0),
        "replica": pa.array(requests["replica"], mask=~placed),
        "prefill_pool": named(np.maximum(prefill_pool, 0), book.pools, ~elsewhere),
        "prefill_replica": pa.array(requests["prefill_replica"], mask=~elsewhere),
        "outcome": named(requests["outcome"], OUTCOMES),
        "reason": named(requests["reason"], VERDICTS, requests["outcome"] != REJECTED),
        "attempt": requests["attempt"],
        "answer": named(requests["answer"], ANSWERS, requests["answer"] == NOT_JUDGED),
        "promise_kept": pa.array(verdicts == PROMISE_KEPT, mask=np.isin(verdicts, (PROMISE_OPEN, GIVEN_UP))),
        "preemptions": requests["preemptions"],
        "busy_s": requests["busy_s"],
        "energy_j": pa.array(requests["energy_j"], mask=requests["provider"] >= 0),
        "prefill_busy_s": requests["prefill_busy_s"],
        "prefill_energy_j": requests["prefill_energy_j"],
        "provider_cost_usd": maybe(np.where(requests["provider"] >= 0, book.providers.usd(requests), np.nan)),
        "attributed_cost_usd": book.attributed_usd(requests),
    }
    return versioned(columns)


def _step_of(requests: Columns, tasks: TaskLedger) -> dict[str, pa.Array]:
    """Return the class of tasks, the step and the node that each request is a call of; null for one by itself."""
    if requests["owner"].max(initial=-1) < 0:
        nobody = pa.nulls(requests.size, pa.dictionary(pa.int32(), pa.string()))
        return {"task_class": nobody, "step": nobody, "node": pa.nulls(requests.size, pa.int64())}
    alone = requests["owner"] < 0
    graphs, nodes = tasks.graphs, np.maximum(requests["node"], 0)
    first = graphs.tasks["first_node"][graphs.nodes["task"][nodes]]
    return {
        "task_class": named(np.maximum(requests["owner"], 0), tasks.names.classes, alone),
        "step": named(graphs.nodes["label"][nodes], tasks.names.labels, alone),
        "node": pa.array(requests["node"] - first, mask=alone),
    }


def decision_table(
    decisions: Records,
    verdicts: NDArray[np.uint8],
    scores: NDArray[np.float64],
    book: Book,
    predictions: NDArray[np.float64] | None = None,
) -> pa.Table:
    """Return the decisions table: a row per request; a verdict, a score and, if kept, predictions per candidate."""
    placed = decisions["pool"] >= 0
    columns = {
        "request_id": decisions["request_id"],
        "time_s": decisions["time_s"],
        "class": named(decisions["class_index"], book.classes),
        "pool": named(np.maximum(decisions["pool"], 0), book.pools, ~placed),
        "provider": named(np.maximum(decisions["provider"], 0), book.providers.names, decisions["provider"] < 0),
        "replica": pa.array(decisions["replica"], mask=~placed),
        "snapshot_age_s": decisions["snapshot_age_s"],
    }
    for index, name in enumerate(book.candidates):
        columns[f"verdict_{name}"] = named(verdicts[:, index], VERDICTS)
    for index, name in enumerate(book.candidates):
        columns[f"score_{name}"] = maybe(scores[:, index].copy())
    if predictions is not None:
        for index, name in enumerate(book.candidates):
            for place, quantity in enumerate(PREDICTED, len(PREDICTED) * index):
                columns[f"predicted_{quantity}_{name}"] = maybe(predictions[:, place].copy())
    return versioned(columns)
