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

from inferencesim.references import by_reference

if TYPE_CHECKING:
    from inferencesim.deployment.latency import LatencyModels
    from inferencesim.kernel.flow_tables import Flow
    from inferencesim.kernel.prefix import Caches

Records = NDArray[np.void]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What became of a request.
OPEN, COMPLETED, REJECTED, TIMED_OUT, CANCELLED, FAILED = range(6)
OUTCOMES = ("open", "completed", "rejected", "timed_out", "cancelled", "failed")

#: Why a candidate, a pool or a provider, was or was not eligible. Codes are stored in the decisions table; the last two
#: are those of the gateway, which turned the request away from all of them.
(
    ELIGIBLE,
    PREFILLS_ONLY,
    MODEL_NOT_SERVED,
    NOT_CAPABLE,
    PROVIDER_REFUSED,
    PRECISION_TOO_LOW,
    OUTSIDE_RESIDENCY,
    OTHER_MODEL,
    CONTEXT_TOO_LONG,
    QUEUE_FULL,
    POWER_LIMITED,
    RATE_LIMITED,
    UNHEALTHY,
    QUOTA_EXCEEDED,
    SHED,
) = range(15)
VERDICTS = (
    "eligible",
    "prefills_only",
    "model_not_served",
    "not_capable",
    "provider_refused",
    "precision_too_low",
    "outside_residency",
    "other_model",
    "context_too_long",
    "queue_full",
    "power_limited",
    "rate_limited",
    "unhealthy",
    "quota_exceeded",
    "shed",
)

#: What a request is, and what its record says of it.
_ASKED = [
    ("request_id", np.int64),
    ("task", np.int64),
    ("class_index", np.int64),
    ("session", np.int64),
    ("prompt_tokens", np.int64),
    ("output_tokens", np.int64),
    ("arrived_s", np.float64),
    ("client", np.int64),  # of a closed loop: its row in the table of clients; −1 if no such client waits for it
    ("node", np.int64),  # of a task, −1: of none
    ("attempt", np.int64),  # of that node, from 0
    ("media_s", np.float64),  # audio in it
]
#: What else serving it takes.
_CONTENT = [
    ("predicted_tokens", np.float64),  # of its output, as an engine would; NaN on arrival: as the mean of its class
    ("prefix", np.int64),  # its shared prefix, −1: none
    ("history", np.int64),  # its conversation, −1: none
    ("chain", np.int64),  # where its block hashes begin, −1: it has none
    ("chain_blocks", np.int64),  # full blocks among them
    ("media_units", np.float64),  # work for the model's encoder
]

#: A request on its way to the fleet.
ARRIVAL = np.dtype(
    [
        *_ASKED,
        *_CONTENT,
        ("patience_s", np.float64),
        ("cancel_after_s", np.float64),
        ("level", np.int64),  # the model it is for, on the class's list; −1: any
        ("slot", np.int64),  # where it was held; −1: it has just come
    ]
)

#: A request, as it is recorded once it has left.
RECORD = np.dtype(
    [
        *_ASKED,
        ("pool", np.int64),  # the router's choice; −1: a provider, or none
        ("provider", np.int64),  # likewise; −1: a pool, or none
        ("replica", np.int64),
        ("prefill_replica", np.int64),  # where it is prefilled, if elsewhere; else −1
        ("outcome", np.int64),
        ("reason", np.int64),
        ("answer", np.int64),  # how good it was, as in :data:`.graph_tables.ANSWERS`
        ("released", np.int64),  # what ended its wait at the gateway, as in :data:`.flow_tables.RELEASES`
        ("held_s", np.float64),  # how long that was
        ("scheduled_s", np.float64),  # first scheduled in a step; NaN at a provider, which does not say
        ("first_token_s", np.float64),
        ("finished_s", np.float64),  # last token, or the moment it left without
        ("generated_tokens", np.int64),
        ("cached_tokens", np.int64),  # of the prompt, found in a cache when it was first admitted
        ("preemptions", np.int64),
        ("busy_s", np.float64),  # its share of the replica's busy time
        ("energy_j", np.float64),  # its share of the energy of those steps
        ("prefill_busy_s", np.float64),  # likewise, at `prefill_replica`
        ("prefill_energy_j", np.float64),
        # Where the time went; with the way to the client and back they sum to the E2E. At a provider, all until the
        # first token is prefill.
        ("waiting_s", np.float64),  # at the gateway and at its replica
        ("prefill_s", np.float64),
        ("decode_s", np.float64),
        ("transfer_s", np.float64),  # while its KV came over a link
        ("preempted_s", np.float64),  # from losing its KV to having it again
    ]
)

#: A request inside the fleet: its record so far, then what is private to the kernel.
REQUEST = np.dtype(
    [
        *((name, RECORD[name]) for name in RECORD.names or ()),
        *_CONTENT,
        ("at", np.int64),  # the replica it is at
        ("row", np.int64),  # of the latency models and of the variants
        ("key", np.int64),  # 31 random bits of its own
        ("rank", np.float64),  # in the waiting queue, lowest first
        ("lane", np.int64),  # of the waiting queue
        ("since_s", np.float64),  # when its phase began
        ("lost_s", np.float64),  # when it was preempted; NaN once it has its KV again
        ("target", np.int64),  # tokens to prefill: the prompt, after a preemption also what was generated
        ("progress", np.int64),  # of those, done
        ("chunk", np.int64),  # of those, in the step under way
        ("residue", np.int64),  # of its tokens in KV less the steps of its replica, modulo block size
        ("began", np.int64),  # the replica's step at which it began to decode
        ("rate", np.float64),  # tokens it makes per step
        ("blocks", np.int64),  # KV blocks it was given at admission
        ("shared", np.int64),  # of its blocks, the first so many stand in the prefix cache
        ("source", np.int64),  # the replica that keeps its KV until it has been transferred, −1: none
        ("source_blocks", np.int64),  # the blocks held there
        ("source_shared", np.int64),
        ("swapped", np.int64),  # blocks in host memory
        ("fetched", np.int64),  # blocks on their way from the tiers
        ("busy_base_s", np.float64),  # the replica's accumulated share when it began to decode
        ("energy_base_j", np.float64),
        ("previous", np.int64),  # waiting queue, towards its head
        ("following", np.int64),  # waiting queue, towards its tail; also the list of free slots
        ("phase", np.int64),
        ("abort", np.int64),  # outcome to leave with at the end of the step under way, or OPEN
        ("left_s", np.float64),  # when the client left
        ("network_s", np.float64),  # of a round trip between its user and where it is served
        ("first_due_s", np.float64),  # at a provider: when its first token comes,
        ("token_s", np.float64),  # and seconds per token after that
        ("level", np.int64),  # while it is held: the model it is for
        ("line", np.int64),  # likewise, and where it is held
    ]
)

#: Phases of a slot. A loading request has seat and blocks and waits for KV; one that is ready joins the next batch; one
#: outside is at a provider; one that is held is at the gateway.
FREE, WAITING, LOADING, READY, PREFILLING, DECODING, OUTSIDE, HELD = range(8)

#: How soon the answers of a class are wanted.
INTERACTIVE, STANDARD, RELAXED = range(3)

#: What becomes of a request's KV when it has left: it can be evicted, after all others, or is given up at once.
KV_LRU, KV_KEEP, KV_DROP = range(3)

#: What the kernel knows of a class.
CLASS = np.dtype(
    [
        ("expected_output_tokens", np.float64),
        ("ttft_s", np.float64),  # promised, infinite if nothing is
        ("tpot_s", np.float64),
        ("e2e_s", np.float64),
        ("sensitivity", np.int64),  # to latency: INTERACTIVE, STANDARD or RELAXED
        ("tenant", np.int64),
        ("priority", np.int64),  # lower first
        ("acceptance", np.float64),  # of drafts, NaN: the pool's own figure
        ("prefix_tokens", np.int64),  # of the shared prefix
        ("chain_tokens", np.int64),  # per block of the requests' hashes
        ("kv_after", np.int64),
    ]
)

#: One replica.
REPLICA = np.dtype(
    [
        ("pool", np.int64),
        ("row", np.int64),  # of the model it has loaded, in the latency models and the variants
        ("next_row", np.int64),  # of the model it is loading
        ("last_lane", np.int64),  # of its waiting queue, that was served last
        ("decoding", np.int64),
        ("prefilling", np.int64),
        ("queued", np.int64),  # requests in its waiting queue
        ("ready", np.int64),  # requests whose KV has come
        ("context", np.float64),  # tokens in KV of all decoding sequences
        ("growth", np.float64),  # tokens they make per step
        ("blocks_used", np.int64),  # those in the prefix cache that nobody holds are not
        ("step", np.int64),  # steps done
        ("residue", np.int64),  # of those sequences that need a block in the next step
        ("next_finish", np.int64),  # step at which the first decoding sequence emits its last token
        ("segment", np.int64),  # what it is doing: IDLE, HOLD, SWAP, MIXED, PREFILL or DECODE; DOWN: nothing
        ("pace", np.float64),  # its steps take so many times as long as they should
        ("segment_steps", np.int64),
        ("segment_start_s", np.float64),
        ("segment_end_s", np.float64),
        ("decode_part_s", np.float64),  # of a mixed step: its duration without the prefill
        ("decode_part_j", np.float64),
        ("segment_j", np.float64),
        ("line_fixed_s", np.float64),  # of a decode segment: its steps as a line in their context
        ("line_slope_s", np.float64),
        ("line_fixed_active_s", np.float64),
        ("line_slope_active_s", np.float64),
        ("served_steps", np.int64),  # of the segment's steps, those the tenants' counters have
        ("stall_s", np.float64),  # for so long its decoding sequences have waited for prompts to be prefilled
        ("chunk_tokens", np.int64),
        ("aborts", np.int64),
        ("share_s", np.float64),  # accumulated busy time of one decoding sequence
        ("share_j", np.float64),
        ("busy_s", np.float64),
        ("busy_energy_j", np.float64),
        ("prefill_tokens", np.int64),  # done, recomputed ones included
        ("decode_tokens", np.float64),
        ("cached_tokens", np.int64),  # prompt tokens found in a cache
        ("prompt_tokens", np.int64),  # of the requests admitted for the first time
        ("preemptions", np.int64),
        ("link_out_s", np.float64),  # its network link is free again, outwards
        ("link_in_s", np.float64),  # and inwards
        ("heap_place", np.int64),  # where it stands in the heap of replicas, −1 if idle
        ("heap_entry", np.int64),  # the replica at this place of the heap (no matter of this replica)
    ]
)
#: Segments: nothing to do; waiting for a batch worth running; loading another model; one step with prefill and decode,
#: or with prefill alone; a run of decode steps; it has crashed, and is not repaired yet.
IDLE, HOLD, SWAP, MIXED, PREFILL, DECODE, DOWN = range(7)

#: A waiting queue of a replica: one, or one per tenant.
LANE = np.dtype(
    [
        ("head", np.int64),
        ("tail", np.int64),
        ("served", np.float64),  # tokens its tenant was given, outputs counted twice
        ("growth", np.float64),  # tokens its decoding sequences make per step
    ]
)

#: One model that a pool serves, deployed.
VARIANT = np.dtype(
    [
        ("kv_blocks", np.int64),  # KV capacity of a replica
        ("context_limit", np.int64),  # longest prompt + output
        ("load_s", np.float64),  # to exchange a replica's weights for its own
        ("link_block_s", np.float64),  # seconds per KV block over the replica's network link
        ("link_latency_s", np.float64),
    ]
)

#: A tier of KV below the device, of one variant.
TIER = np.dtype(
    [
        ("block_s", np.float64),  # seconds per KV block over its link
        ("latency_s", np.float64),
        ("survives", np.int64),  # a crash of the replica
    ]
)

#: One pool, as the kernel needs it.
POOL = np.dtype(
    [
        ("first_replica", np.int64),
        ("replicas", np.int64),
        ("first_row", np.int64),  # of the model its replicas start with
        ("up", np.int64),  # replicas that are not down
        ("max_sequences", np.int64),
        ("token_budget", np.int64),
        ("block_size", np.int64),
        ("capacity", np.int64),  # KV blocks of all replicas
        ("reserve", np.int64),
        ("swap", np.int64),  # preempted requests go to host memory
        ("admission_interval", np.int64),  # decode steps from one look at the queue to the next
        ("former", np.int64),  # its batching policy
        ("order", np.int64),  # of its waiting queues
        ("fair", np.int64),  # a lane per tenant
        ("starvation_s", np.float64),  # who has waited so long is overtaken no more
        ("prefix_cache", np.int64),
        ("tiers", np.int64),
        ("drafts", np.int64),  # tokens drafted per step and sequence
        ("acceptance", np.float64),  # of a class that states none
        ("prefill_pool", np.int64),  # where its long prompts are prefilled, −1: here
        ("prefill_above", np.int64),  # uncached tokens that make a prompt long
        ("queue_limit", np.int64),
        ("queued", np.int64),  # requests in its waiting queues
        ("arrived", np.int64),
        ("left", np.int64),
        ("completed", np.int64),
        ("handed_over", np.int64),  # requests prefilled here for another pool
        ("output_tokens", np.float64),
        ("blocks_used", np.int64),
    ]
)

#: An outside provider, as the kernel needs it.
PROVIDER = np.dtype(
    [
        ("requests_per_minute", np.float64),  # limits; infinite: none
        ("tokens_per_minute", np.float64),
        ("request_level", np.float64),  # what the buckets held when they were last taken from
        ("token_level", np.float64),
        ("refilled_s", np.float64),  # when that was
        ("context_limit", np.int64),  # longest prompt + output
        ("prompt_cache", np.int64),  # whether it has one
        ("seats", np.float64),  # requests in flight that routers take to be all it has room for
        ("up", np.int64),  # whether it answers
        ("arrived", np.int64),
        ("completed", np.int64),
        ("rate_limited", np.int64),  # requests it was ruled out for by its limits
    ]
)

#: A moment at which something happens to a request, a client or a task; the timers form a heap.
TIMER = np.dtype(
    [
        ("at_s", np.float64),
        ("kind", np.int64),  # one of those below, or the outcome with which a client leaves
        ("number", np.int64),  # of the request, the client that asks, the node, the task, or the line
        ("slot", np.int64),  # of the request
    ]
)
#: Of a timer: a request's KV has come; a client asks; a node of a task calls, is done, has failed; a task times out;
#: a provider's answer is complete; a line of held requests may go on; the slack of one of them has run out; a tool
#: was lost.
LOADED = OPEN
ASK, CALL_DUE, NODE_DONE, NODE_FAILED, TASK_LATE, PROVIDED = range(len(OUTCOMES), len(OUTCOMES) + 6)
LINE_OPENS, SLACK_GONE, TOOL_LOST = range(PROVIDED + 1, PROVIDED + 4)

#: A moment at which something happens to a replica or a provider; all of a run are known before its clock starts.
FAILURE = np.dtype(
    [
        ("at_s", np.float64),
        ("target", np.int64),  # a replica; those after the last of them are the providers
        ("kind", np.int64),
        ("pace", np.float64),  # of its steps from now on
    ]
)
#: It crashes, it is repaired, or its steps take another time.
CRASH, REPAIR, PACE = range(3)

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
        ("predicted_tokens", np.float64),
        ("prefix", np.int64),
        ("history", np.int64),
        ("media_units", np.float64),
        ("media_s", np.float64),
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

#: A placement decision; verdicts and scores per candidate stand in arrays beside it.
DECISION = np.dtype(
    [
        ("request_id", np.int64),
        ("time_s", np.float64),
        ("class_index", np.int64),
        ("pool", np.int64),
        ("provider", np.int64),
        ("replica", np.int64),
        ("snapshot_age_s", np.float64),
    ]
)

#: What is predicted of a candidate, where decisions keep it: these for the first one, then for the next.
PREDICTED = ("ttft_s", "tpot_s", "cost_usd", "energy_j")

#: What routing looks at, per candidate: a replica, a pool, or a provider, whose requests in flight are running.
LOAD = np.dtype(
    [
        ("waiting", np.int64),  # requests not yet scheduled, those on their way from a prefill pool included
        ("running", np.int64),  # requests in prefill or decode
        ("waiting_tokens", np.int64),  # tokens still to prefill, of waiting and of running requests
        ("context_tokens", np.float64),  # tokens in KV of decoding sequences; sent to a provider, output as predicted
        ("kv_usage", np.float64),  # share of KV blocks in use; of the room a provider is taken to have
    ]
)

#: The fleet's own numbers: one record.
CLOCK = np.dtype(
    [
        ("now_s", np.float64),
        ("snapshot_s", np.float64),  # last refresh of what policies see
        ("snapshot_interval_s", np.float64),  # 0: they see the live counts
        ("next_stream", np.int64),  # next arrival of the stream
        ("asked", np.int64),  # requests of closed-loop clients and of tasks
        ("free_slot", np.int64),
        ("done_count", np.int64),
        ("decision_count", np.int64),
        ("timer_count", np.int64),
        ("heap_count", np.int64),
        ("arrived", np.int64),
        ("inside", np.int64),
        ("last_left_s", np.float64),  # the latest departure
        ("answered", np.int64),  # of those in `done`: their clients know
        ("next_task", np.int64),  # that will begin
        ("tasks_open", np.int64),
        ("tasks_closed", np.int64),
        ("most_at_once", np.int64),  # requests that leave, or timers that are set, in one event of a task
        ("next_failure", np.int64),
        ("next_lost", np.int64),  # of a crash under way: the slot to look at next
    ]
)

#: A step that does not come; `finish_at` of a request in prefill, and of one that is not in the batch yet.
NEVER = np.int64(2**62)
AWAY = np.int64(2**62 + 1)

#: A running request's place in its batch.
SEAT = np.dtype([("slot", np.int64), ("finish_at", np.int64)])


@by_reference
class Fleet(NamedTuple):
    """All tables of a fleet of `R` replicas in `P` pools, and of `Q` outside providers."""

    clock: Records  #: CLOCK[1]
    slots: Records  #: REQUEST, grown as needed
    slot_words: Integers  #: the same memory in words of eight bytes, a row per slot
    replicas: Records  #: REPLICA[R]
    pools: Records  #: POOL[P]
    providers: Records  #: PROVIDER[Q]
    provider_draws: Floats  #: quantiles of seconds to the first token and of tokens per second, (Q, 2, draws)
    classes: Records  #: CLASS[C]
    variants: Records  #: VARIANT, a row per model of each pool
    tiers: Records  #: TIER, (variants, most tiers)
    tier_links: Floats  #: when each tier's link is free again, (R, most tiers)
    lanes: Records  #: LANE, (R, most lanes)
    seats: Records  #: SEAT of each running request in order of admission, (R, widest batch)
    residues: Integers  #: decoding sequences by KV length modulo block size, (R, largest block)
    caches: Caches  #: prefix caches: of each replica its own, then its tiers', R · (1 + most tiers); of each provider
    block_hashes: Integers  #: of all requests that have any
    lineage: Records  #: LINEAGE of the histories of tasks
    found: Integers  #: work space: entries of the cache, as long as the longest prompt has blocks
    latency: LatencyModels  #: step times of each variant
    timers: Records  #: TIMER, a heap
    failures: Records  #: FAILURE, in order of time
    live: Records  #: LOAD[R], exact
    live_pools: Records  #: LOAD[P + Q], exact
    seen: Records  #: LOAD[R], as old as the snapshot
    seen_pools: Records  #: LOAD[P + Q], likewise
    done: Records  #: RECORD: those that left since the last flush
    done_words: Integers  #: the same memory in words
    counts: Records  #: COUNTS, of all steps since the start, (R)
    mixture: Records  #: MIXTURE, (R, C)
    flow: Flow  #: what is held at the gateway, and why
    gaps: Floats  #: gaps between tokens in bins, (C, BINS)
