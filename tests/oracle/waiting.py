"""The waiting queue of the twin: who is next, and who overtakes whom."""

from __future__ import annotations

from dataclasses import dataclass, field


def rank(order, parameters, call):
    """Return a request's place in an order, lowest first."""
    return {
        "fcfs": 0.0,
        "vtc": 0.0,
        "priority": float(call.kind.described.priority),
        "sjf": call.predicted + parameters.get("prompt_weight", 0.0) * call.prompt,
        "edf": call.arrived_s + call.kind.deadline_after_s,
    }[order]


@dataclass(eq=False)
class Queue:
    """Lists of waiting requests: one, or under ``vtc`` one per tenant, with the service that tenant was given."""

    order: str
    parameters: dict
    starvation_s: float
    tenants: list[str]
    lanes: dict = field(default_factory=dict)
    served: dict = field(default_factory=dict)
    left_last: str | None = None

    def __post_init__(self):
        self.lanes = {tenant: [] for tenant in (self.tenants if self.is_fair else ["all"])}
        self.served = dict.fromkeys(self.lanes, 0.0)
        self.left_last = next(iter(self.lanes))

    @property
    def is_fair(self):
        return self.order == "vtc"

    def lane_of(self, call):
        return call.kind.tenant if self.is_fair else "all"

    def __len__(self):
        return sum(map(len, self.lanes.values()))

    def __iter__(self):
        for lane in self.lanes.values():
            yield from lane

    def put(self, call, now):
        tenant = self.lane_of(call)
        lane = self.lanes[tenant]
        call.rank, call.queued_s = rank(self.order, self.parameters, call), now
        if self.is_fair and not lane:
            # Who comes back has saved up nothing.
            waiting = [self.served[each] for each, others in self.lanes.items() if others]
            self.served[tenant] = max(self.served[tenant], min(waiting, default=self.served[self.left_last]))
        if call.lost:
            place = next((i for i, other in enumerate(lane) if other.rank >= call.rank), len(lane))
        else:
            place = len(lane)
            while place and self._overtakes(call, lane[place - 1], now):
                place -= 1
        lane.insert(place, call)

    def _overtakes(self, call, other, now):
        return other.rank > call.rank and now - other.queued_s < self.starvation_s

    def first(self):
        tenants = [tenant for tenant, lane in self.lanes.items() if lane]
        return self.lanes[min(tenants, key=self.served.get)][0] if tenants else None

    def remove(self, call):
        self.left_last = self.lane_of(call)
        self.lanes[self.left_last].remove(call)

    def serve(self, call, tokens):
        self.served[self.lane_of(call)] += tokens
