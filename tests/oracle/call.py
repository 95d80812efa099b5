"""A request of the twin: what is asked, and all that happens to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from inferencesim.kernel.views import mix
from inferencesim.workload.closed import mean_lengths
from inferencesim.workload.load import generate_load

WAITING, LOADING, READY, PREFILL, DECODE, GONE = "waiting", "loading", "ready", "prefill", "decode", "gone"

#: Where the time of a phase is booked, unless the request has lost its KV.
PARTS = {WAITING: "waiting", LOADING: "transfer", READY: "transfer", PREFILL: "prefill", DECODE: "decode"}

#: Salt of the draws of accepted drafts.
DRAFTS = 100_003


@dataclass(eq=False)
class Kind:
    """A class of the scenario, as engines see it."""

    index: int
    described: object
    tenant: str
    expected_output: float
    chain_tokens: int

    @property
    def deadline_after_s(self):
        promise = self.described.promise
        limits = [limit for limit in (promise.e2e, promise.deadline) if limit is not None]
        return promise.ttft if promise.ttft is not None else min(limits, default=math.inf)

    @property
    def prefix_tokens(self):
        return 0 if self.described.shared_prefix is None else self.described.shared_prefix.tokens


@dataclass(eq=False)
class Call:
    """A request, with all that happens to it."""

    request_id: int
    task: int
    kind: Kind
    prompt: int
    output: int
    arrived_s: float
    patience_s: float
    cancel_after_s: float
    predicted: float
    prefix: int
    history: int
    chain: list[int]
    media_units: float
    key: int
    phase: str = WAITING
    outcome: str = "open"
    model: str | None = None
    pool: object = None
    replica: int | None = None
    prefill_replica: int | None = None
    at: object = None
    scheduled_s: float | None = None
    first_token_s: float | None = None
    network_s: float = 0.0
    last_token_s: float | None = None
    finished_s: float | None = None
    generated: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    busy_s: float = 0.0
    energy_j: float = 0.0
    prefill_busy_s: float = 0.0
    prefill_energy_j: float = 0.0
    reason: str | None = None
    rank: float = 0.0
    queued_s: float = 0.0
    target: int = 0
    progress: int = 0
    fetched: int = 0
    swapped: int = 0
    source: object = None
    client_left: tuple[str, float] | None = None
    since_s: float = 0.0
    lost: bool = False
    spent: dict = field(default_factory=lambda: dict.fromkeys((*PARTS.values(), "preempted"), 0.0))
    to_make: int = 0
    steps: int = 1
    steps_done: int = 0

    def enter(self, phase, now):
        """Book the time since its phase began, and begin another; nothing counts once its client has left."""
        upto_s = min(now, self.client_left[1]) if self.client_left else now
        if self.phase != GONE:
            part = "preempted" if self.lost else PARTS[self.phase]
            self.spent[part] += max(0.0, upto_s - self.since_s)
        self.phase, self.since_s = phase, now

    @property
    def left_to_prefill(self):
        return 0 if self.phase == DECODE else self.target - self.progress

    @property
    def rate(self):
        """Tokens it makes per decode step, on average."""
        return self.to_make / self.steps

    def made(self, steps):
        """Return the tokens it has made after so many decode steps: evenly from first to last."""
        return steps * self.to_make // self.steps

    def begin_decoding(self, drafts, acceptance):
        """Draw the steps its further tokens take."""
        self.to_make = self.output - self.generated
        self.steps_done, self.steps, made = 0, 0, 0
        stated = self.kind.described.acceptance
        chance = acceptance if stated is None else stated
        while made < self.to_make:
            drawn = mix(self.key, DRAFTS + self.generated + made) / 2**31
            accepted = next((j for j in range(drafts) if drawn >= chance ** (j + 1)), drafts)
            made += 1 + accepted
            self.steps += 1

    def key_of(self, position, block_size):
        """Return what the KV of one of its blocks stands for: equal only if all tokens up to its end are."""
        end = (position + 1) * block_size
        if self.chain:
            size = self.kind.chain_tokens
            if size <= block_size:
                number, part = end // size - 1, 0
            else:
                number, part = position * block_size // size, position * block_size % size // block_size
            if number < len(self.chain):
                return "trace", self.chain[number], part
        elif self.prefix >= 0 and end <= self.kind.prefix_tokens:
            return "prefix", self.prefix, position
        elif self.history >= 0:
            return "conversation", self.history, position
        return "alone", self.request_id, position

    def keys(self, count, block_size):
        return [self.key_of(position, block_size) for position in range(count)]


def depart(call, outcome, at_s):
    call.enter(GONE, at_s)
    call.outcome = outcome
    call.finished_s = at_s


class Source:
    """Makes the requests of a scenario, from its load and from what clients ask."""

    def __init__(self, described, base):
        self.seed = described.seed & 0x7FFFFFFF
        load = generate_load(described.workload, described.horizon, described.seed, base)
        self.kinds = []
        for index, each in enumerate(described.workload):
            outputs = load.output_tokens[load.class_index == index]
            mean = mean_lengths(each)[1] if each.arrivals.process == "closed" else outputs.mean() if len(outputs) else 0
            tenant = each.tags.tenant or each.name
            self.kinds.append(Kind(index, each, tenant, float(mean), int(load.chain_tokens[index])))
        self.load = [self._of_row(load, i) for i in range(len(load))]

    def _of_row(self, load, i):
        chain = []
        if load.chain[i] >= 0:
            chain = load.block_ids[load.chain[i] : load.chain[i] + load.chain_blocks[i]].tolist()
        columns = {name: getattr(load, name)[i] for name in ("prompt_tokens", "output_tokens", "cancel_after_s")}
        columns |= {name: getattr(load, name)[i] for name in ("task", "predicted_tokens", "prefix", "history")}
        columns |= {"media_units": load.media_units[i]}
        kind = self.kinds[load.class_index[i]]
        return self.make(i, kind, columns, float(load.arrived_s[i]), float(load.patience_s[i]), chain)

    def make(self, request_id, kind, columns, now, patience_s, chain=()):
        prompt, predicted = int(columns["prompt_tokens"]), float(columns["predicted_tokens"])
        return Call(
            request_id,
            int(columns["task"]),
            kind,
            prompt,
            int(columns["output_tokens"]),
            now,
            patience_s,
            float(columns["cancel_after_s"]),
            kind.expected_output if math.isnan(predicted) else predicted,
            int(columns["prefix"]),
            int(columns["history"]),
            list(chain),
            float(columns["media_units"]),
            mix(mix(self.seed, kind.index + 1), int(columns["task"]) + 1),
            target=prompt,
            since_s=now,
        )
