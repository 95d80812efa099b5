"""The fleet once more, naively: objects, lists and one engine step at a time.

Written from the documentation (what a step does, the order of events at one
instant, who is charged for what), not from the kernel. Durations of single steps come
from :mod:`inferencesim.deployment.latency`, which has tests of its own; all else is
counted afresh wherever it is needed. An engine is in :mod:`oracle.replica`, its KV
blocks in :mod:`oracle.memory`, its queue in :mod:`oracle.waiting`, its batching
policies in :mod:`oracle.forming`, a request in :mod:`oracle.call`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from oracle.call import GONE, LOADING, Source, depart
from oracle.clients import clients_of
from oracle.replica import Pool, Replica

#: Order of timers at one instant: KV that comes, then clients that leave.
TIMERS = {"loaded": 0, "timed_out": 1, "cancelled": 1}


@dataclass(frozen=True)
class View:
    """What a policy sees of a replica, or of a pool: counts at the time of the snapshot."""

    waiting: int
    running: int
    to_prefill: int


class Twin:
    """The whole fleet under the load of a plan; closed-loop clients ask as they go."""

    def __init__(self, plan, target_rates):
        described = plan.scenario
        self.source = Source(described, Path())
        self.clients = clients_of(described)
        self.arrivals = self.source.load
        self.pools = [Pool(each, rate) for each, rate in zip(plan.pools, target_rates, strict=True)]
        named = {pool.plan.name: pool for pool in self.pools}
        self.replicas = []
        for pool in self.pools:
            pool.fleet = self
            if pool.plan.spec.prefill_in is not None:
                pool.prefills_in = named[pool.plan.spec.prefill_in.pool]
                pool.prefills_in.only_prefills = True
            for _ in range(pool.plan.replicas):
                pool.replicas.append(Replica(len(self.replicas), pool, self.source.kinds))
                self.replicas.append(pool.replicas[-1])
        self.placement = described.routing.placement.policy
        self.balancing = described.routing.balancing.policy
        self.snapshot_age = described.routing.snapshot_age
        self.snapshot_s = 0.0
        self.snapshot = self.look()
        self.turns = {}
        self.ages = []
        self.timers = []
        self.network_s = plan.network_s.tolist()
        self.power_limits = described.power

    def after(self, at_s, call, what):
        """Remember what happens to a request at `at_s`."""
        if at_s < math.inf:
            self.timers.append((at_s, TIMERS[what], call.request_id, call, what))

    def run(self, until):
        """Play all events up to `until`, in the documented order at each instant."""
        ahead = list(self.arrivals)
        while True:
            ends = [(replica.activity.end_s, replica.number) for replica in self.replicas if replica.activity]
            first_end = min(ends, default=(math.inf, -1))
            self.timers.sort(key=lambda timer: timer[:3])
            first_timer = self.timers[0][0] if self.timers else math.inf
            refresh = self.snapshot_s + self.snapshot_age if self.snapshot_age else math.inf
            # Ties by class and number, which is their order in the list.
            asking = min(self.clients, key=lambda client: client.asks_s, default=None)
            ask = asking.asks_s if asking else math.inf
            arrival = ahead[0].arrived_s if ahead else math.inf
            now = min(first_end[0], first_timer, refresh, ask, arrival)
            if now > until or (not ahead and not ends and first_timer == ask == math.inf):
                return
            if first_end[0] == now:
                replica = self.replicas[first_end[1]]
                replica.end()
                replica.begin(now)
            elif first_timer == now:
                *_, call, what = self.timers.pop(0)
                self.timer_ends(call, what, now)
            elif refresh == now:
                self.snapshot_s = now
                self.snapshot = self.look()
            else:
                call = self.asked(asking, now) if ask == now else ahead.pop(0)
                if call and self.admits(call, now):
                    self.arrive(call, now)
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
        patience_s = math.inf if described.timeout is None else described.timeout
        kind = self.source.kinds[client.loop.index]
        client.call = self.source.make(len(self.arrivals), kind, turn, now, patience_s)
        self.arrivals.append(client.call)
        return client.call

    def timer_ends(self, call, what, now):
        if call.phase == GONE or call.client_left:
            return
        if what == "loaded":
            if call.phase == LOADING:
                call.at.kv_has_come(call, now)
        elif what == "cancelled" or call.first_token_s is None:
            call.at.client_leaves(call, what, now)

    def admits(self, call, now):
        """Filter, place and balance; return whether the request gets in."""
        self.ages.append(now - self.snapshot_s if self.snapshot_age else 0.0)
        if not self.snapshot_age:
            self.snapshot = self.look()
        verdicts = [self.verdict(call, pool) for pool in self.pools]
        eligible = [i for i, verdict in enumerate(verdicts) if verdict == "eligible"]
        if not eligible:
            order = ["eligible", "prefills_only", "model_not_served", "context_too_long", "queue_full", "power_limited"]
            call.reason = max(verdicts, key=order.index)
            depart(call, "rejected", now)
            return False
        pools, replicas = self.snapshot
        sizes = [len(pool.replicas) for pool in self.pools]
        rates = [pool.target_rate for pool in self.pools]
        chosen = self.choose("placement", self.placement, call, pools, eligible, sizes, rates)
        call.pool = pool = self.pools[chosen]
        call.model = pool.serving(call.kind)
        views = [replicas[each.number] for each in pool.replicas]
        each = pool.target_rate / len(views)
        place = 0
        if len(views) > 1:
            place = self.choose(
                chosen,
                self.balancing,
                call,
                views,
                [i for i, each in enumerate(pool.replicas) if self.may_take(each)],
                [1] * len(views),
                [each] * len(views),
            )
        call.replica = pool.replicas[place].number
        call.network_s = self.network_s[call.kind.index][chosen]
        return True

    def arrive(self, call, now):
        """Queue up: where the router said, or where long prompts are prefilled for that pool."""
        self.after(now + call.patience_s, call, "timed_out")
        self.after(now + call.cancel_after_s, call, "cancelled")
        replica, pool = self.replicas[call.replica], call.pool
        if pool.prefills_in is not None:
            keys = call.keys((call.prompt - 1) // pool.block_size, pool.block_size)
            uncached = call.prompt - len(replica.memory.match(keys)) * pool.block_size
            if uncached > pool.plan.spec.prefill_in.above:
                replica = min(pool.prefills_in.replicas, key=Replica.to_prefill)
                call.prefill_replica = replica.number
        replica.queue_up(call, now)
        replica.disturb(now)

    def verdict(self, call, pool):
        if pool.only_prefills:
            return "prefills_only"
        model = pool.serving(call.kind)
        if model is None:
            return "model_not_served"
        longest = pool.context_limit(model)
        if pool.prefills_in is not None:
            longest = min(longest, pool.prefills_in.context_limit(model))
        if call.prompt + call.output > longest:
            return "context_too_long"
        # The bound is a hard constraint: it looks at the queue as it is, not at the snapshot.
        waiting = sum(len(replica.waiting) + self.coming(replica) for replica in pool.replicas)
        limit = pool.plan.spec.queue_limit
        if limit is not None and waiting >= limit:
            return "queue_full"
        return "eligible" if any(self.may_take(replica) for replica in pool.replicas) else "power_limited"

    def may_take(self, replica):
        """Tell whether the limits on power let a replica take a request: it has one, or there is power for its peak."""
        return self.works(replica) or all(
            self.drawn_w(limit, {replica}) <= limit.limit * (1 + 1e-9)
            for limit in self.power_limits
            if limit.is_on(replica.pool.plan.spec)
        )

    def works(self, replica):
        return bool(replica.activity or replica.waiting or replica.running or self.coming(replica))

    def drawn_w(self, limit, also):
        """Add up what the machines of a limit may draw: their peak who have a request, or are to have one."""
        drawn_w = 0.0
        for replica in self.replicas:
            if limit.is_on(replica.pool.plan.spec):
                deployment = replica.pool.plan.deployment
                drawn_w += deployment.peak_w if self.works(replica) or replica in also else deployment.idle_w
        return drawn_w

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
                "least_tokens": (view.to_prefill + outstanding * call.kind.expected_output) / sizes[i],
                "least_normalised_load": (outstanding + 1) / rates[i],
            }[policy]

        return min(eligible, key=lambda i: (badness(i), i))

    def coming(self, replica):
        """Count the requests that are prefilled elsewhere for a replica."""
        helper = replica.pool.prefills_in
        at_helper = [call for other in helper.replicas for call in [*other.waiting, *other.running]] if helper else []
        return sum(call.replica == replica.number for call in at_helper)

    def look(self):
        """Count what policies see, of each pool and of each replica."""
        replicas = [
            View(len(each.waiting) + self.coming(each), len(each.running), each.to_prefill()) for each in self.replicas
        ]
        pools = []
        for pool in self.pools:
            views = [replicas[replica.number] for replica in pool.replicas]
            pools.append(
                View(
                    sum(view.waiting for view in views),
                    sum(view.running for view in views),
                    sum(view.to_prefill for view in views),
                )
            )
        return pools, replicas
