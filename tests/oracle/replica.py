"""One engine of the twin: a waiting queue, a running batch in order of admission, one step at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from inferencesim.deployment.latency import decode_line, step_cost
from inferencesim.deployment.step_time import MixedStep
from oracle.call import DECODE, LOADING, PREFILL, READY, WAITING, depart
from oracle.forming import form
from oracle.memory import Memory, tiers_of
from oracle.waiting import Queue

STEP, HOLD, SWAP = "step", "hold", "swap"


@dataclass(eq=False)
class Pool:
    """Identical replicas, and what the policies know of them."""

    plan: object
    target_rate: float
    replicas: list[Replica] = field(default_factory=list)
    prefills_in: Pool | None = None
    only_prefills: bool = False
    output_tokens: float = 0.0

    def __post_init__(self):
        spec, deployment = self.plan.spec, self.plan.deployment
        batching = spec.batching
        self.variants = {each.model.id: each for each in self.plan.variants}
        self.max_sequences = batching.max_sequences
        self.token_budget = batching.token_budget
        self.block_size = batching.block_size
        self.admission_interval = batching.admission_interval
        self.reserves = batching.kv == "reserve"
        self.swaps = batching.preemption == "swap"
        self.policy = deployment.batching_policy
        self.drafts = deployment.drafts
        self.acceptance = deployment.acceptance

    def serving(self, kind):
        """Return the model that serves a class here, if one does."""
        names = [name.split("/")[-1].removesuffix(".yaml") for name in kind.described.models]
        return next((name for name in names if name in self.variants), None)

    def context_limit(self, model):
        variant = self.variants[model]
        return min(variant.model.max_context, variant.memory.kv_tokens + 1)


@dataclass(eq=False)
class Activity:
    """What a replica does until `end_s`: a step, or holding, or loading another model."""

    kind: str
    end_s: float
    seconds: float = 0.0
    joules: float = 0.0
    decode_seconds: float = 0.0
    decode_joules: float = 0.0
    decoding: list = field(default_factory=list)
    chunks: list = field(default_factory=list)
    model: str | None = None


class Replica:
    """One engine."""

    def __init__(self, number, pool, kinds):
        self.number, self.pool = number, pool
        spec = pool.plan.spec
        variants = pool.plan.variants
        self.loaded = variants[0]
        tiers = tiers_of(spec, variants)
        self.memory = Memory(self.loaded.memory.kv_blocks, spec.prefix_cache, tiers)
        order, limit_s = spec.batching.order, spec.batching.starvation_after
        tenants = sorted({kind.tenant for kind in kinds})
        starvation_s = math.inf if limit_s is None else limit_s
        self.waiting = Queue(order.policy, order.parameters, starvation_s, tenants)
        self.running = []
        self.activity = None
        self.link_out_s = self.link_in_s = 0.0
        self.busy_s = self.busy_energy_j = self.decode_tokens = 0.0
        self.prefill_tokens = self.decode_steps = self.preemptions = self.cached_tokens = self.prompt_tokens = 0
        self.gaps = defaultdict(list)

    def blocks(self, tokens):
        return -(-tokens // self.pool.block_size)

    def decoding(self):
        return [call for call in self.running if call.phase == DECODE]

    def to_prefill(self):
        return sum(call.left_to_prefill for call in [*self.waiting, *self.running])

    def growth_of(self, call):
        """Return the blocks the tokens of a sequence's next step need."""
        if self.pool.reserves:
            return 0
        return self.blocks(call.target + call.made(call.steps_done + 1)) - len(self.memory.held[call])

    def growth(self):
        return sum(self.growth_of(call) for call in self.decoding())

    def disturb(self, now):
        """Look at queue and batch again, unless a step is under way."""
        if self.activity is None or self.activity.kind == HOLD:
            self.begin(now)

    def begin(self, now):
        """Form the next batch: what is running first, then the queue as far as policy, seats and KV allow."""
        self.activity = None
        for call in self.running:
            if call.phase == READY:
                self.join(call, now)
        if not self.running and self.waiting and self.waiting.first().model != self.loaded.model.id:
            self.swap_models(self.waiting.first().model, now)
            return
        preempted = False
        while self.memory.used() + self.growth() > self.memory.capacity:
            self.preempt(now)
            preempted = True
        formation = form(self.pool.policy.policy, self.pool.policy.parameters, self, now)
        chunks = []
        for call in self.running:
            if call.phase == PREFILL:
                self.give_chunk(call, formation, chunks)
        looks = not self.decoding() or self.decode_steps % self.pool.admission_interval == 0
        if looks and not preempted:
            self.admit(formation, chunks, now)
        chunks = [(call, tokens) for call, tokens in chunks if tokens > 0]
        decoding = self.decoding() if formation.together or not chunks else []
        if decoding or chunks:
            self.activity = self.timed(now, decoding, chunks)
        elif self.waiting and formation.wake_s < math.inf:
            self.activity = Activity(HOLD, formation.wake_s)

    def join(self, call, now):
        """Go on with a request whose KV has come."""
        if call.progress < call.target:
            call.enter(PREFILL, now)
        else:
            self.begin_decoding(call, now)

    def begin_decoding(self, call, now):
        call.enter(DECODE, now)
        call.lost = False
        call.begin_decoding(self.pool.drafts, self.pool.acceptance)

    def swap_models(self, model, now):
        seconds = self.pool.variants[model].load_s
        joules = seconds * self.loaded.coefficients.idle_w
        self.activity = Activity(SWAP, now + seconds, seconds, joules, model=model)

    def preempt(self, now):
        """Send the running request of the highest rank, of equals the last admitted, back to the queue."""
        running = [call for call in self.running if call.phase in (PREFILL, DECODE)]
        call = max(reversed(running), key=lambda call: call.rank)
        call.preemptions += 1
        self.preemptions += 1
        # The last token made is not in KV yet.
        kept = call.prompt + call.generated - 1 if call.phase == DECODE else call.progress
        self.remove(call, left=False)
        call.enter(WAITING, now)
        call.lost = True
        if self.pool.swaps and kept and self.memory.swap_out(self.blocks(kept), now):
            call.swapped = self.blocks(kept)
            call.target, call.progress = max(call.target, kept), kept
        else:
            call.target, call.progress = call.prompt + call.generated, 0
        self.queue_up(call, now)

    def remove(self, call, *, left):
        """Take a request out of the batch; what it has decoded may be found again."""
        if call.phase == DECODE:
            kept = call.target + call.made(call.steps_done)
            self.memory.share(call, kept // self.pool.block_size)
        self.running.remove(call)
        self.memory.release(call, self.pool.block_size, left=left)

    def queue_up(self, call, now):
        call.enter(WAITING, now)
        call.at = self
        self.waiting.put(call, now)

    def give_chunk(self, call, formation, chunks):
        """Give a request its next chunk; a policy that does not cut prompts lets what does not fit wait."""
        left = call.target - call.progress
        given = sum(tokens for _, tokens in chunks)
        tokens = min(left, formation.prefill_tokens - given)
        if formation.whole:
            tokens = left if not given or tokens == left else 0
        chunks.append((call, tokens))

    def admit(self, formation, chunks, now):
        """Give seats to those that are next, until something is short."""
        pool, memory, admitted = self.pool, self.memory, 0
        # What this step's decodes need is theirs.
        growth = self.growth()
        while self.waiting and admitted < formation.admit and len(self.running) < pool.max_sequences:
            given = sum(tokens for _, tokens in chunks)
            call = self.waiting.first()
            if given >= formation.prefill_tokens or call.model != self.loaded.model.id:
                return
            # Its last token makes the first of the answer: what was not computed elsewhere is computed here.
            keys = call.keys((call.target - (call.source is None)) // pool.block_size, pool.block_size)
            matched = memory.match([] if call.swapped else keys)
            total = self.blocks(call.target)
            if pool.reserves and not pool.only_prefills:
                total = self.blocks(call.prompt + call.output - 1)
            idle = sum(block.holders == 0 for block in matched)
            if memory.used() + growth + total - len(matched) + idle > memory.capacity:
                return
            found = len(matched) * pool.block_size
            left = call.target - max(call.progress, found)
            if formation.whole and given and left > formation.prefill_tokens - given:
                return
            self.waiting.remove(call)
            admitted += 1
            memory.take(call, matched, total - len(matched), now)
            self.running.append(call)
            if self.waiting.is_fair and not call.preemptions:
                self.waiting.serve(call, call.prompt)
            ready_s = self.load(call, matched, keys, now)
            if call.scheduled_s is None:
                call.scheduled_s = now
                call.cached_tokens = found + call.fetched * pool.block_size
                self.cached_tokens += call.cached_tokens
                self.prompt_tokens += call.prompt
            if ready_s is None:
                call.enter(PREFILL, now)
                self.give_chunk(call, formation, chunks)
            else:
                call.enter(LOADING, now)
                pool.fleet.after(ready_s, call, "loaded")

    def load(self, call, matched, keys, now):
        """Have KV sent that is elsewhere; return when it will be here, None if there is nothing to wait for."""
        if call.source is not None:
            return self.receive(call, len(matched), now)
        if call.swapped:
            return self.memory.tiers[0].send(call.swapped, now)
        call.progress = len(matched) * self.pool.block_size
        call.fetched, ready_s = self.memory.fetch(keys[len(matched) :], now)
        return ready_s if call.fetched else None

    def receive(self, call, matched, now):
        """Send KV from where it was prefilled, after all that either link carries before it."""
        sender = call.source
        links = [each.loaded.kv_link for each in (sender, self)]
        blocks = self.blocks(call.target) - matched
        begin_s = max(now, sender.link_out_s, self.link_in_s)
        block_s = max(
            each.loaded.kv_block_bytes / link.bandwidth for each, link in zip((sender, self), links, strict=True)
        )
        sender.link_out_s = self.link_in_s = begin_s + blocks * block_s
        return sender.link_out_s + sum(link.latency for link in links)

    def kv_has_come(self, call, now):
        """Let go of what was held elsewhere, and join the next batch."""
        source = call.source
        self.let_go_elsewhere(call)
        call.progress += call.fetched * self.pool.block_size
        call.fetched = 0
        self.memory.share(call, call.progress // self.pool.block_size)
        call.enter(READY, now)
        self.disturb(now)
        if source is not None:
            source.disturb(now)

    def let_go_elsewhere(self, call):
        """Give back what a request holds where it was prefilled, and in host memory."""
        if call.source is not None:
            call.source.memory.release(call, self.pool.block_size, left=True)
            call.source = None
        if call.swapped:
            self.memory.tiers[0].swapped -= call.swapped
            call.swapped = 0

    def timed(self, now, decoding, chunks):
        """How long the step takes, and what of that is the decoding sequences'."""
        latency = self.loaded.latency
        c = latency.coefficients
        n = float(len(decoding))
        # The tokens of a decode step read themselves too.
        read = float(sum(call.target + call.rate * (call.steps_done + 1) for call in decoding))
        alone_s = alone_j = 0.0
        if decoding:
            line = decode_line(latency, n, read)
            alone_s = line.fixed_s + line.slope_s * read
            alone_active = line.fixed_active_s + line.slope_active_s * read
            alone_j = c.idle_w * alone_s + c.dynamic_w * alone_active
        if not chunks:
            return Activity(STEP, now + alone_s, alone_s, alone_j, alone_s, alone_j, decoding, chunks)
        pairs = [(tokens, call.progress + tokens / 2.0) for call, tokens in chunks]
        step = MixedStep(
            n,
            read,
            float(len(chunks)),
            float(sum(tokens for _, tokens in chunks)),
            sum(tokens * seen for tokens, seen in pairs),
            sum(tokens * min(seen, c.window) for tokens, seen in pairs),
            float(sum(call.progress + tokens for call, tokens in chunks)),
            float(sum(call.progress + tokens == call.target for call, tokens in chunks)),
        )
        cost = step_cost(latency, step)
        joules = c.idle_w * cost.seconds + c.dynamic_w * cost.active_s
        if decoding:
            alone_s = min(cost.seconds, alone_s)
            alone_j = c.idle_w * alone_s + c.dynamic_w * min(cost.active_s, alone_active)
        return Activity(STEP, now + cost.seconds, cost.seconds, joules, alone_s, alone_j, decoding, chunks)

    def end(self):
        """Book what is over now."""
        done, now = self.activity, self.activity.end_s
        self.activity = None
        self.busy_s += done.seconds
        self.busy_energy_j += done.joules
        if done.kind == SWAP:
            self.loaded = self.pool.variants[done.model]
            self.memory.forget(self.loaded.memory.kv_blocks)
        elif done.kind == STEP:
            self.end_step(done, now)

    def end_step(self, step, now):
        """Book a step; clients that left during it are let go first, then those that are done."""
        self.decode_steps += bool(step.decoding)
        for call in step.decoding:
            self.book_decode(call, step, now)
        for call in [call for call in self.running if call.client_left]:
            for chunk in step.chunks:
                if chunk[0] is call:
                    self.book_chunk(*chunk, step)
            self.drop(call, now)
        for call in step.decoding:
            if call.phase == DECODE and call.generated == call.output:
                self.complete(call, now)
        for call, tokens in step.chunks:
            if call.phase == PREFILL:
                self.book_chunk(call, tokens, step)
                if call.progress == call.target:
                    self.end_prefill(call, now)

    def book_decode(self, call, step, now):
        """Count the tokens of one sequence's decode step."""
        self.memory.grow(call, self.growth_of(call), now)
        made = call.made(call.steps_done + 1) - call.made(call.steps_done)
        call.steps_done += 1
        for _ in range(made):
            self.token(call, now)
        self.decode_tokens += call.rate
        self.pool.output_tokens += call.rate
        if self.waiting.is_fair:
            self.waiting.serve(call, 2 * call.rate)
        call.busy_s += step.decode_seconds / len(step.decoding)
        call.energy_j += step.decode_joules / len(step.decoding)

    def book_chunk(self, call, tokens, step):
        """Count one request's share of the prefill of a step."""
        share = tokens / sum(each for _, each in step.chunks)
        part = "prefill_" if call.prefill_replica == self.number else ""
        for name, rest in (
            ("busy_s", step.seconds - step.decode_seconds),
            ("energy_j", step.joules - step.decode_joules),
        ):
            setattr(call, part + name, getattr(call, part + name) + share * rest)
        call.progress += tokens
        self.prefill_tokens += tokens
        self.memory.share(call, call.progress // self.pool.block_size)

    def token(self, call, now):
        """Count one token, and the gap since the one before."""
        call.generated += 1
        if call.last_token_s is not None:
            self.gaps[call.kind.index].append(now - call.last_token_s)
        call.last_token_s = now

    def end_prefill(self, call, now):
        """Emit the token at the end of a prefill, and decode, here or elsewhere."""
        self.token(call, now)
        self.pool.output_tokens += 1
        if self.waiting.is_fair:
            self.waiting.serve(call, 2)
        if call.first_token_s is None:
            call.first_token_s = now + call.network_s + self.loaded.coefficients.engine_request_s
        if call.generated == call.output:
            self.complete(call, now)
        elif call.prefill_replica == self.number:
            self.running.remove(call)
            call.source = self
            target = self.pool.fleet.replicas[call.replica]
            target.queue_up(call, now)
            target.disturb(now)
        else:
            self.begin_decoding(call, now)

    def complete(self, call, now):
        self.remove(call, left=True)
        # The way back to the client holds no seat.
        depart(call, "completed", now)
        call.finished_s = now + call.network_s + self.loaded.coefficients.engine_request_s

    def drop(self, call, now):
        """Let go of a request whose client has left."""
        source = call.source
        if call.phase == WAITING:
            self.waiting.remove(call)
        else:
            self.remove(call, left=True)
        self.let_go_elsewhere(call)
        depart(call, *call.client_left)
        if source is not None:
            source.disturb(now)

    def client_leaves(self, call, outcome, now):
        """Let a request go at once, unless it has to wait for the end of the step."""
        call.client_left = (outcome, now)
        if call.phase == WAITING or self.activity is None or self.activity.kind == HOLD:
            self.drop(call, now)
            self.disturb(now)
