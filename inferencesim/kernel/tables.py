"""The kernel's state: flat tables, one record per request, replica and pool.

Everything compiled works on these arrays and on nothing else; there are no
objects and no dictionaries behind them. Records keep the fields of one thing
side by side in memory and give each column its glossary name, which is also its
name in the Parquet tables. Few tables, too, for a reason: each is an argument of
every compiled function it is passed to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from inferencesim.deployment.latency import LatencyModels

Records = NDArray[np.void]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What became of a request.
OPEN, COMPLETED, REJECTED, TIMED_OUT, CANCELLED = range(5)
OUTCOMES = ("open", "completed", "rejected", "timed_out", "cancelled")

#: Why a candidate pool was, or was not, eligible for a request. Codes are stored in the decisions table.
ELIGIBLE, MODEL_NOT_SERVED, PRECISION_TOO_LOW, OUTSIDE_RESIDENCY, CONTEXT_TOO_LONG, QUEUE_FULL = range(6)
VERDICTS = (
    "eligible",
    "model_not_served",
    "precision_too_low",
    "outside_residency",
    "context_too_long",
    "queue_full",
)

#: A request on its way to the fleet.
ARRIVAL = np.dtype(
    [
        ("request_id", np.int64),
        ("task", np.int64),
        ("class_index", np.int64),
        ("session", np.int64),
        ("prompt_tokens", np.int64),
        ("output_tokens", np.int64),
        ("arrived_s", np.float64),
        ("patience_s", np.float64),
        ("cancel_after_s", np.float64),
        ("client", np.int64),  # of a closed loop: its row in the table of clients; −1 if nobody waits for the answer
    ]
)

#: A request inside the fleet, and the same record once it has left.
REQUEST = np.dtype(
    [
        *[(name, ARRIVAL.fields[name][0]) for name in ARRIVAL.names or () if ARRIVAL.fields is not None],
        ("pool", np.int64),
        ("replica", np.int64),
        ("outcome", np.int64),
        ("reason", np.int64),
        ("scheduled_s", np.float64),  # first scheduled in a step
        ("first_token_s", np.float64),
        ("finished_s", np.float64),  # last token, or the moment it left without
        ("generated_tokens", np.int64),
        ("preemptions", np.int64),
        ("busy_s", np.float64),  # its share of the replica's busy time
        ("energy_j", np.float64),  # its share of the energy of those steps
        # Below: private to the kernel while the request is inside.
        ("target", np.int64),  # tokens to prefill: the prompt, after a preemption also what was generated
        ("progress", np.int64),  # of those, done
        ("chunk", np.int64),  # of those, in the step under way
        ("kv_base", np.int64),  # tokens in KV − steps of the replica, while decoding
        ("blocks", np.int64),  # KV blocks held since admission
        ("busy_base_s", np.float64),  # the replica's accumulated share when it began to decode
        ("energy_base_j", np.float64),
        ("previous", np.int64),  # waiting queue, towards its head
        ("following", np.int64),  # waiting queue, towards its tail; also the list of free slots
        ("phase", np.int64),
        ("abort", np.int64),  # outcome to leave with at the end of the step under way, or OPEN
        ("left_s", np.float64),  # when the client left
    ]
)

#: Phases of a slot.
FREE, WAITING, PREFILLING, DECODING = range(4)

#: One replica.
REPLICA = np.dtype(
    [
        ("pool", np.int64),
        ("head", np.int64),  # waiting queue
        ("tail", np.int64),
        ("decoding", np.int64),
        ("prefilling", np.int64),
        ("context", np.int64),  # tokens in KV of all decoding sequences
        ("blocks_used", np.int64),
        ("step", np.int64),  # steps done
        ("next_finish", np.int64),  # step at which the first decoding sequence emits its last token
        ("segment", np.int64),  # what it is doing: IDLE, MIXED, PREFILL or DECODE
        ("segment_steps", np.int64),
        ("segment_start_s", np.float64),
        ("segment_end_s", np.float64),
        ("decode_part_s", np.float64),  # of a mixed step: its duration without the prefill
        ("decode_part_j", np.float64),
        ("segment_j", np.float64),
        ("chunk_tokens", np.int64),
        ("aborts", np.int64),
        ("share_s", np.float64),  # accumulated busy time of one decoding sequence
        ("share_j", np.float64),
        ("busy_s", np.float64),
        ("busy_energy_j", np.float64),
        ("prefill_tokens", np.int64),  # done, recomputed ones included
        ("decode_tokens", np.int64),
        ("preemptions", np.int64),
        ("heap_place", np.int64),  # where it stands in the heap of replicas, −1 if idle
        ("heap_entry", np.int64),  # the replica at this place of the heap (no matter of this replica)
    ]
)
IDLE, MIXED, PREFILL, DECODE = range(4)

#: One pool, as the kernel needs it.
POOL = np.dtype(
    [
        ("first_replica", np.int64),
        ("replicas", np.int64),
        ("max_sequences", np.int64),
        ("token_budget", np.int64),
        ("block_size", np.int64),
        ("kv_blocks", np.int64),
        ("reserve", np.int64),
        ("admission_interval", np.int64),  # decode steps from one look at the queue to the next
        ("prefill_first", np.int64),  # prompts are prefilled in steps of their own
        ("queue_limit", np.int64),
        ("context_limit", np.int64),  # longest prompt + output
        ("arrived", np.int64),
        ("left", np.int64),
        ("completed", np.int64),
        ("output_tokens", np.int64),
        ("blocks_used", np.int64),
    ]
)

#: A moment at which a client leaves, or asks; the timers form a heap.
TIMER = np.dtype(
    [
        ("at_s", np.float64),
        ("kind", np.int64),  # the outcome with which a client leaves, or ASK
        ("number", np.int64),  # of the request; of the client, if it asks
        ("slot", np.int64),  # of the request
    ]
)
#: Of a timer: a client asks. Beside TIMED_OUT and CANCELLED, and after them.
ASK = len(OUTCOMES)

#: A client of a closed loop.
CLIENT = np.dtype(
    [
        ("class_index", np.int64),
        ("number", np.int64),  # among the clients of its class
        ("turn", np.int64),  # requests it has asked so far
        ("drawn", np.int64),  # turns drawn so far; the latest stand in its row of the turns, turn modulo row length
    ]
)

#: What a client does in one turn.
TURN = np.dtype(
    [
        ("think_s", np.float64),  # before it asks
        ("prompt_tokens", np.int64),
        ("output_tokens", np.int64),
        ("session", np.int64),
        ("cancel_after_s", np.float64),
    ]
)

#: What the clients of a class have in common; a row per class of the scenario.
LOOP = np.dtype(
    [
        ("clients", np.int64),  # 0: the class is no closed loop
        ("end_s", np.float64),  # nobody asks from then on
        ("back_off_s", np.float64),  # pause of one whose request left at the instant it came
        ("patience_s", np.float64),
        ("left", np.int64),  # requests its clients may still ask
    ]
)

#: A placement decision; verdicts and scores per pool stand in arrays beside it.
DECISION = np.dtype(
    [
        ("request_id", np.int64),
        ("time_s", np.float64),
        ("class_index", np.int64),
        ("pool", np.int64),
        ("replica", np.int64),
        ("snapshot_age_s", np.float64),
    ]
)


#: What routing looks at, per candidate: a replica, or a pool.
LOAD = np.dtype(
    [
        ("waiting", np.int64),  # requests not yet scheduled
        ("running", np.int64),  # requests in prefill or decode
        ("waiting_tokens", np.int64),  # tokens still to prefill, of waiting and of running requests
        ("context_tokens", np.int64),  # tokens in KV of decoding sequences
        ("kv_usage", np.float64),  # share of KV blocks in use
    ]
)

#: The fleet's own numbers: one record.
CLOCK = np.dtype(
    [
        ("now_s", np.float64),
        ("snapshot_s", np.float64),  # last refresh of what policies see
        ("snapshot_interval_s", np.float64),  # 0: they see the live counts
        ("next_stream", np.int64),  # next arrival of the stream
        ("asked", np.int64),  # requests of closed-loop clients
        ("free_slot", np.int64),
        ("done_count", np.int64),
        ("decision_count", np.int64),
        ("timer_count", np.int64),
        ("heap_count", np.int64),
        ("arrived", np.int64),
        ("inside", np.int64),
        ("last_left_s", np.float64),  # the latest departure
        ("answered", np.int64),  # of those in `done`: their clients know
    ]
)

#: A step that does not come.
NEVER = np.int64(2**62)

#: A running request's place in its batch; `finish_at` is NEVER while it is in prefill.
SEAT = np.dtype([("slot", np.int64), ("finish_at", np.int64)])


class Fleet(NamedTuple):
    """All tables of a fleet of `R` replicas in `P` pools."""

    clock: Records  #: CLOCK[1]
    slots: Records  #: REQUEST, grown as needed
    replicas: Records  #: REPLICA[R]
    pools: Records  #: POOL[P]
    seats: Records  #: SEAT of each running request in order of admission, (R, widest batch)
    residues: Integers  #: decoding sequences by KV length modulo block size, (R, largest block)
    latency: LatencyModels  #: step times of each pool, [P]
    timers: Records  #: TIMER, a heap
    live: Records  #: LOAD[R], exact
    live_pools: Records  #: LOAD[P], exact
    seen: Records  #: LOAD[R], as old as the snapshot
    seen_pools: Records  #: LOAD[P], likewise
    done: Records  #: REQUEST: those that left since the last flush
