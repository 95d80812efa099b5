"""The fleet once more, naively: objects, lists and one engine step at a time.

Written from the documentation (what a step does, the order of events at one
instant, who is charged for what), not from the kernel. Durations of single steps come
from :mod:`inferencesim.deployment.latency`, which has tests of its own; all else is
counted afresh wherever it is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from inferencesim.deployment.latency import decode_line, step_cost
from inferencesim.workload.closed import mean_lengths
from inferencesim.workload.load import generate_load
from oracle.clients import clients_of

WAITING, PREFILL, DECODE, GONE = "waiting", "prefill", "decode", "gone"


@dataclass(eq=False)
class Call:
    """A request, with all that happens to it."""

    request_id: int
    task: int
    class_index: int
    prompt: int
    output: int
    arrived_s: float
    patience_s: float
    cancel_after_s: float
    expected_output: float
    phase: str = WAITING
    outcome: str = "open"
    replica: int | None = None
    scheduled_s: float | None = None
    first_token_s: float | None = None
    finished_s: float | None = None
    generated: int = 0
    preemptions: int = 0
    busy_s: float = 0.0
    energy_j: float = 0.0
    reason: str | None = None
    to_prefill: int = 0
    prefilled: int = 0
    kv_tokens: int = 0
    client_left: tuple[str, float] | None = None


@dataclass(eq=False)
class Step:
    """The engine step under way."""

    end_s: float
    seconds: float
    joules: float
    decode_seconds: float
    decode_joules: float
    decoding: list[Call]
    chunks: list[tuple[Call, int]]


@dataclass(eq=False)
class Replica:
    """One engine: a waiting queue, a running batch in order of admission, at most one step under way."""

    number: int
    pool: Pool
    waiting: list[Call] = field(default_factory=list)
    running: list[Call] = field(default_factory=list)
    step: Step | None = None
    busy_s: float = 0.0
    busy_energy_j: float = 0.0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    decode_steps: int = 0
    most_blocks: int = 0

    def blocks(self, tokens):
        return -(-tokens // self.pool.block_size)

    def blocks_of(self, call):
        if self.pool.reserve:
            return self.blocks(call.prompt + call.output - 1)
        # A prefill holds the blocks of all it will prefill from its admission on.
        return self.blocks(call.to_prefill if call.phase == PREFILL else call.kv_tokens)

    def blocks_used(self):
        return sum(self.blocks_of(call) for call in self.running)

    def to_prefill(self):
        calls = [call for call in self.waiting + self.running if call.phase != DECODE]
        return sum(call.to_prefill - call.prefilled for call in calls)

    def growth(self):
        """Blocks that the next token of every decoding sequence needs."""
        if self.pool.reserve:
            return 0
        return sum(call.kv_tokens % self.pool.block_size == 0 for call in self.running if call.phase == DECODE)

    def preempt_newest(self):
        call = self.running.pop()
        call.phase = WAITING
        call.preemptions += 1
        call.to_prefill = call.prompt + call.generated
        call.prefilled = 0
        call.kv_tokens = 0
        self.waiting.insert(0, call)

    def begin_step(self, now):
        """Form the batch: running first, then the queue's head while seats, KV and tokens last."""
        pool = self.pool
        preempted = False
        while self.blocks_used() + self.growth() > pool.kv_blocks:
            self.preempt_newest()
            preempted = True
        decoding = [call for call in self.running if call.phase == DECODE]
        budget = pool.token_budget - (0 if pool.prefill_first else len(decoding))
        growth = self.growth()
        chunks = []
        for call in self.running:
            if call.phase == PREFILL:
                chunks.append((call, min(budget, call.to_prefill - call.prefilled)))
                budget -= chunks[-1][1]
        looks = not decoding or self.decode_steps % pool.admission_interval == 0
        while looks and not preempted and self.waiting and budget > 0 and len(self.running) < pool.max_sequences:
            call = self.waiting[0]
            needed = self.blocks(call.prompt + call.output - 1 if pool.reserve else call.to_prefill)
            if self.blocks_used() + growth + needed > pool.kv_blocks:
                break
            self.waiting.pop(0)
            call.phase = PREFILL
            if call.scheduled_s is None:
                call.scheduled_s = now
            self.running.append(call)
            chunks.append((call, min(budget, call.to_prefill)))
            budget -= chunks[-1][1]
        chunks = [(call, tokens) for call, tokens in chunks if tokens > 0]
        if pool.prefill_first and chunks:
            # Decodes wait until nothing is left to prefill.
            decoding = []
        self.step = self.timed(now, decoding, chunks) if decoding or chunks else None
        self.most_blocks = max(self.most_blocks, self.blocks_used() + growth)

    def timed(self, now, decoding, chunks):
        """How long the step takes, and what of that is the decoding sequences'."""
        latency = self.pool.latency
        c = latency.coefficients
        n = float(len(decoding))
        # The token of a decode step reads itself too.
        read = float(sum(call.kv_tokens + 1 for call in decoding))
        alone_s = alone_j = 0.0
        if decoding:
            line = decode_line(latency, n, read)
            alone_s = line.fixed_s + line.slope_s * read
            alone_active = line.fixed_active_s + line.slope_active_s * read
            alone_j = c.idle_w * alone_s + c.dynamic_w * alone_active
        if not chunks:
            return Step(now + alone_s, alone_s, alone_j, alone_s, alone_j, decoding, chunks)
        pairs = [(tokens, call.prefilled + tokens / 2.0) for call, tokens in chunks]
        cost = step_cost(
            latency,
            n,
            read,
            float(len(chunks)),
            float(sum(tokens for _, tokens in chunks)),
            sum(tokens * seen for tokens, seen in pairs),
            sum(tokens * min(seen, c.window) for tokens, seen in pairs),
            float(sum(call.prefilled + tokens for call, tokens in chunks)),
            float(sum(call.prefilled + tokens == call.to_prefill for call, tokens in chunks)),
        )
        joules = c.idle_w * cost.seconds + c.dynamic_w * cost.active_s
        if decoding:
            alone_s = min(cost.seconds, alone_s)
            alone_j = c.idle_w * alone_s + c.dynamic_w * min(cost.active_s, alone_active)
        return Step(now + cost.seconds, cost.seconds, joules, alone_s, alone_j, decoding, chunks)

    def end_step(self):
        """Book the step; clients that left during it are let go first, then those that are done."""
        step, now = self.step, self.step.end_s
        self.step = None
        self.busy_s += step.seconds
        self.busy_energy_j += step.joules
        self.decode_tokens += len(step.decoding)
        self.decode_steps += bool(step.decoding)
        for call in step.decoding:
            call.kv_tokens += 1
            call.generated += 1
            call.busy_s += step.decode_seconds / len(step.decoding)
            call.energy_j += step.decode_joules / len(step.decoding)
        given = sum(tokens for _, tokens in step.chunks)
        for call, tokens in step.chunks:
            call.prefilled += tokens
            call.busy_s += (step.seconds - step.decode_seconds) * tokens / given
            call.energy_j += (step.joules - step.decode_joules) * tokens / given
            self.prefill_tokens += tokens
        for call in [call for call in self.running if call.client_left]:
            self.running.remove(call)
            self.pool.output_tokens += call in step.decoding
            depart(call, *call.client_left)
        for call in step.decoding:
            if call.phase == DECODE:
                self.pool.output_tokens += 1
                self.done_if_complete(call, now)
        for call, _ in step.chunks:
            if call.phase == PREFILL and call.prefilled == call.to_prefill:
                call.phase = DECODE
                call.kv_tokens = call.to_prefill
                call.generated += 1
                self.pool.output_tokens += 1
                if call.first_token_s is None:
                    call.first_token_s = now + self.pool.request_s
                self.done_if_complete(call, now)

    def done_if_complete(self, call, now):
        if call.generated == call.output:
            self.running.remove(call)
            # The way back to the client holds no seat.
            depart(call, "completed", now + self.pool.request_s)


def depart(call, outcome, at_s):
    call.phase = GONE
    call.outcome = outcome
    call.finished_s = at_s


@dataclass(eq=False)
class Pool:
    """Identical replicas, and what the policies know of them."""

    model: str
    max_sequences: int
    token_budget: int
    block_size: int
    kv_blocks: int
    reserve: bool
    prefill_first: bool
    admission_interval: int
    request_s: float
    queue_limit: int | None
    context_limit: int
    latency: object
    target_rate: float
    replicas: list[Replica] = field(default_factory=list)
    output_tokens: int = 0


@dataclass(frozen=True)
class View:
    """What a policy sees of a replica, or of a pool: counts at the time of the snapshot."""

    waiting: int
    running: int
    to_prefill: int
    kv_usage: float


class Twin:
    """The whole fleet under the load of a plan; closed-loop clients ask as they go."""

    def __init__(self, plan, target_rates):
        described = plan.scenario
        load = generate_load(described.workload, described.horizon, described.seed, Path())
        expected = {
            index: load.output_tokens[load.class_index == index].mean() for index in set(load.class_index.tolist())
        }
        self.clients = clients_of(described)
        self.models = [each.models for each in described.workload]
        self.arrivals = [
            Call(
                i,
                int(load.task[i]),
                int(load.class_index[i]),
                int(load.prompt_tokens[i]),
                int(load.output_tokens[i]),
                float(load.arrived_s[i]),
                float(load.patience_s[i]),
                float(load.cancel_after_s[i]),
                float(expected[int(load.class_index[i])]),
                to_prefill=int(load.prompt_tokens[i]),
            )
            for i in range(len(load))
        ]
        self.pools = []
        self.replicas = []
        for each, rate in zip(plan.pools, target_rates, strict=True):
            batching, deployment = each.spec.batching, each.deployment
            made = Pool(
                deployment.model.id,
                batching.max_sequences,
                batching.token_budget,
                batching.block_size,
                deployment.memory.kv_blocks,
                batching.kv == "reserve",
                deployment.batching_policy.policy == "prefill_first",
                batching.admission_interval,
                deployment.engine.request.si,
                each.spec.queue_limit,
                min(deployment.model.max_context, deployment.memory.kv_tokens + 1),
                deployment.latency,
                rate,
            )
            for _ in range(each.spec.replicas):
                made.replicas.append(Replica(len(self.replicas), made))
                self.replicas.append(made.replicas[-1])
            self.pools.append(made)
        self.placement = described.routing.placement.policy
        self.balancing = described.routing.balancing.policy
        self.snapshot_age = described.routing.snapshot_age
        self.snapshot_s = 0.0
        self.snapshot = self.look()
        self.turns = {}
        self.ages = []

    def run(self, until):
        """Play all events up to `until`, in the documented order at each instant."""
        ahead = list(self.arrivals)
        timers = []
        while True:
            ends = [(replica.step.end_s, replica.number) for replica in self.replicas if replica.step]
            first_end = min(ends, default=(math.inf, -1))
            timers.sort(key=lambda timer: timer[:2])
            first_timer = timers[0][0] if timers else math.inf
            refresh = self.snapshot_s + self.snapshot_age if self.snapshot_age else math.inf
            # Ties by class and number, which is their order in the list.
            asking = min(self.clients, key=lambda client: client.asks_s, default=None)
            ask = asking.asks_s if asking else math.inf
            arrival = ahead[0].arrived_s if ahead else math.inf
            now = min(first_end[0], first_timer, refresh, ask, arrival)
            if now > until or (not ahead and not ends and ask == math.inf):
                return
            if first_end[0] == now:
                replica = self.replicas[first_end[1]]
                replica.end_step()
                replica.begin_step(now)
            elif first_timer == now:
                _, _, call, outcome = timers.pop(0)
                self.client_leaves(call, outcome, now)
            elif refresh == now:
                self.snapshot_s = now
                self.snapshot = self.look()
            else:
                call = self.asked(asking, now) if ask == now else ahead.pop(0)
                if call and self.arrive(call, now):
                    timers.append((now + call.patience_s, call.request_id, call, "timed_out"))
                    timers.append((now + call.cancel_after_s, call.request_id, call, "cancelled"))
            for client in self.clients:
                if client.call and client.call.phase == GONE:
                    # Who gave up in the midst of a step knows it at its end, who is served once the answer is back.
                    client.answered(max(now, client.call.finished_s))

    def asked(self, client, now):
        """Return the request a client asks now, if it still may."""
        turn = client.ask()
        if turn is None:
            return None
        described = client.loop.described
        client.call = Call(
            len(self.arrivals),
            turn["task"],
            client.loop.index,
            int(turn["prompt_tokens"]),
            int(turn["output_tokens"]),
            now,
            math.inf if described.timeout is None else described.timeout,
            float(turn["cancel_after_s"]),
            mean_lengths(described)[1],
            to_prefill=int(turn["prompt_tokens"]),
        )
        self.arrivals.append(client.call)
        return client.call

    def client_leaves(self, call, outcome, now):
        if call.phase == GONE or call.client_left or (outcome == "timed_out" and call.first_token_s is not None):
            return
        if call.phase == WAITING:
            self.replicas[call.replica].waiting.remove(call)
            depart(call, outcome, now)
        else:
            call.client_left = (outcome, now)

    def arrive(self, call, now):
        """Filter, place, balance, enqueue; return whether the request got in."""
        self.ages.append(now - self.snapshot_s if self.snapshot_age else 0.0)
        if not self.snapshot_age:
            self.snapshot = self.look()
        verdicts = [self.verdict(call, pool) for pool in self.pools]
        eligible = [i for i, verdict in enumerate(verdicts) if verdict == "eligible"]
        if not eligible:
            order = ["eligible", "model_not_served", "context_too_long", "queue_full"]
            call.reason = max(verdicts, key=order.index)
            depart(call, "rejected", now)
            return False
        pools, replicas = self.snapshot
        sizes = [len(pool.replicas) for pool in self.pools]
        rates = [pool.target_rate for pool in self.pools]
        chosen = self.choose("placement", self.placement, call, pools, eligible, sizes, rates)
        pool = self.pools[chosen]
        views = [replicas[each.number] for each in pool.replicas]
        each = pool.target_rate / len(views)
        place = 0
        if len(views) > 1:
            place = self.choose(
                chosen,
                self.balancing,
                call,
                views,
                range(len(views)),
                [1] * len(views),
                [each] * len(views),
            )
        replica = pool.replicas[place]
        call.replica = replica.number
        replica.waiting.append(call)
        if replica.step is None:
            replica.begin_step(now)
        return True

    def verdict(self, call, pool):
        if pool.model not in [Path(name).stem for name in self.models[call.class_index]]:
            return "model_not_served"
        if call.prompt + call.output > pool.context_limit:
            return "context_too_long"
        # The bound is a hard constraint: it looks at the queue as it is, not at the snapshot.
        waiting = sum(len(replica.waiting) for replica in pool.replicas)
        if pool.queue_limit is not None and waiting >= pool.queue_limit:
            return "queue_full"
        return "eligible"

    def choose(self, level, policy, call, views, eligible, sizes, rates):
        """The policies of the same names, ties to the lowest identity."""
        if policy == "round_robin":
            n = len(views)
            start = self.turns.get(level, 0)
            chosen = next(i % n for i in range(start, start + n) if i % n in eligible)
            self.turns[level] = chosen + 1
            return chosen

        def badness(i):
            view = views[i]
            outstanding = view.waiting + view.running
            return {
                "least_outstanding": outstanding / sizes[i],
                "join_shortest_queue": view.waiting / sizes[i],
                "least_tokens": (view.to_prefill + outstanding * call.expected_output) / sizes[i],
                "least_normalised_load": (outstanding + 1) / rates[i],
            }[policy]

        return min(eligible, key=lambda i: (badness(i), i))

    def look(self):
        """Count what policies see, of each pool and of each replica."""
        replicas = [
            View(
                len(replica.waiting),
                len(replica.running),
                sum(
                    call.to_prefill - call.prefilled
                    for call in replica.waiting + replica.running
                    if call.phase != DECODE
                ),
                replica.blocks_used() / replica.pool.kv_blocks,
            )
            for replica in self.replicas
        ]
        pools = []
        for pool in self.pools:
            views = [replicas[replica.number] for replica in pool.replicas]
            pools.append(
                View(
                    sum(view.waiting for view in views),
                    sum(view.running for view in views),
                    sum(view.to_prefill for view in views),
                    sum(view.kv_usage for view in views) / len(views),
                )
            )
        return pools, replicas
