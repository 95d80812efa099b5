"""The integer programme: the cheapest fleet whose capacity, at its most optimistic, is enough.

What it leaves out only makes fleets cheaper: there are no queues, every batch is the best there can be, requests are
divided at will, each kind of work apart, and placed where it is cheapest; electricity costs what it does at its
cheapest hour; dynamic power and the work of tasks and of closed loops count nothing. Hence the optimum is a lower
bound of what a fleet that keeps its promises costs per hour.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from inferencesim.experiments.planning.candidates import Fleet
from inferencesim.experiments.planning.capacity import replica_of
from inferencesim.experiments.planning.demand import DECODED, KINDS, PROMPT
from inferencesim.experiments.planning.screen import keeps_alone
from inferencesim.simulation.plan import settled
from inferencesim.simulation.tasks import plan_tools

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.experiments.planning.candidates import Space
    from inferencesim.experiments.planning.demand import ClassDemand, Slice
    from inferencesim.scenario.workload import WorkloadClass
    from inferencesim.simulation.providers import ProviderPlan

    Floats = NDArray[np.float64]

#: Seconds the solver may take; what it has proved by then is a bound all the same.
_SOLVER_S = 30.0

#: By how much a bound is lowered for the solver's tolerances.
_TOLERANCE = 1e-6

#: Work a provider bills: tokens after the first, and prompts.
_BILLED = (DECODED, PROMPT)


class Optimum(NamedTuple):
    """What the programme found.

    Attributes
    ----------
    fleet : Fleet or None
        None where no fleet within the bounds is enough.
    usd_per_h : float
        No fleet costs less; infinite where there is none.
    """

    fleet: Fleet | None
    usd_per_h: float


class Programme:
    """The integer programme of a space and its demand.

    Parameters
    ----------
    space : Space
    slices : tuple of Slice
    replications : int
        Over which the slices are taken together.
    """

    def __init__(self, space: Space, slices: Sequence[Slice], replications: int) -> None:
        self.space = space
        self.slices = slices
        self.replications = replications
        self.window_s = space.scenario.horizon - space.scenario.warm_up
        workload = space.scenario.workload
        longest = max((float(one.least[:, PROMPT].max()) for part in slices for one in part.demands), default=0.0)
        longest = max([longest, *(float(one.total[PROMPT]) for part in slices[:1] for one in part.demands)])
        plan = settled(space.scenario, tuple(one.plan for one in space.candidates), space.providers)
        #: Whose cuts they are, by candidate and variant; and which variant serves which class.
        self.replicas = [
            [replica_of(one.plan, each, workload, longest) for each in one.plan.variants] for one in space.candidates
        ]
        firsts = np.cumsum([0, *(len(one.plan.variants) for one in space.candidates)])
        self.variant = plan.rows - firsts[:-1]
        self.eligible = space.eligible
        #: By class, the providers it may go to, and the share of their answers that keep its promises at most.
        self.lucky = [
            {place: share for place in bought if (share := _lucky_share(each, space.providers[place])) > 0.0}
            for each, (_, bought) in zip(workload, self.eligible, strict=True)
        ]
        self._alone: dict[tuple[int, int, tuple[float, ...]], bool] = {}
        self.tools_usd_per_h = 3600.0 * sum(
            each.usd_per_s + each.idle_w * each.node_tariff.lowest for each in plan_tools(space.scenario)
        )

    def solve(self, headroom: float = 1.0, fixed: Fleet | None = None) -> Optimum:
        """Return the cheapest fleet, or whether one that is given is enough.

        Parameters
        ----------
        headroom : float
            The share of its most optimistic capacity that a replica is taken to have; 1 gives a bound.
        fixed : Fleet, optional
            The counts there are.
        """
        rows = _Rows(len(self.space.candidates) + len(self.space.providers) + 1)
        self._fleets(rows)
        bills = [(part.whole, self._slice(rows, part, headroom)) for part in self.slices]
        paid = len(self.space.candidates) + len(self.space.providers)
        # What leaves in the whole window is paid for, and so is all that leaves in its slices.
        for kept in (True, False):
            terms = [term for whole, bill in bills if whole is kept for term in bill]
            rows.add([(paid, -1.0), *terms], -math.inf, 0.0)
        lower, upper = self._limits(rows, fixed)
        cost = np.zeros(rows.columns)
        cost[: len(self.space.candidates)] = [3600.0 * one.usd_per_s for one in self.space.candidates]
        cost[paid] = 3600.0 / (self.window_s * self.replications)
        whole = np.zeros(rows.columns, np.int64)
        whole[:paid] = fixed is None
        solved = milp(
            cost,
            constraints=rows.constraints(),
            integrality=whole,
            bounds=Bounds(lower, upper),
            options={"time_limit": _SOLVER_S, "mip_rel_gap": 1e-4},
        )
        if solved.status == 2:  # infeasible
            return Optimum(None, math.inf)
        proved = solved.mip_dual_bound if fixed is None else solved.fun
        floor = -math.inf if proved is None else float(proved)
        usd = self.tools_usd_per_h + max(0.0, floor) * (1.0 - _TOLERANCE)
        if solved.x is None:
            return Optimum(None, usd)
        counts = np.rint(solved.x[:paid]).astype(int).tolist()
        split = len(self.space.candidates)
        return Optimum(Fleet(tuple(counts[:split]), tuple(counts[split:])), usd)

    def _fleets(self, rows: _Rows) -> None:
        """Say which fleets there are: bounds of pools, and somebody for every class."""
        space = self.space
        split = len(space.candidates)
        rows.add([(place, 1.0) for place in range(split)], 1.0, math.inf)
        for origin, (least, most) in space.bounds.items():
            rows.add([(place, 1.0) for place in space.of_pool(origin)], float(least), float(most))
        for own, bought in self.eligible:
            rows.add([(place, 1.0) for place in own] + [(split + place, 1.0) for place in bought], 1.0, math.inf)

    def _limits(self, rows: _Rows, fixed: Fleet | None) -> tuple[Floats, Floats]:
        """Return the bounds of all variables."""
        space, split = self.space, len(self.space.candidates)
        lower, upper = np.zeros(rows.columns), np.full(rows.columns, math.inf)
        upper[:split] = [space.bounds[one.origin][1] for one in space.candidates]
        for place, optional in enumerate(space.optional):
            lower[split + place], upper[split + place] = float(not optional), 1.0
        if fixed is not None:
            lower[: split + len(space.providers)] = upper[: split + len(space.providers)] = [
                *fixed.counts,
                *fixed.providers,
            ]
        return lower, upper

    def _slice(self, rows: _Rows, part: Slice, headroom: float) -> list[tuple[int, float]]:
        """Add the work of one slice; return what providers bill for it, as terms in US dollars."""
        split = len(self.space.candidates)
        bill: list[tuple[int, float]] = []
        # Seconds of a replica per variable, one list of terms for each cut of each candidate.
        used: list[dict[int, list[tuple[int, float]]]] = [{} for _ in range(split)]
        sent: list[list[tuple[int, float]]] = [[] for _ in self.space.providers]
        for demand in part.demands:
            if demand.needed <= 0.0:
                continue
            own = [place for place in self.eligible[demand.index][0] if self._can(place, demand.index)]
            lucky = self.lucky[demand.index]
            bought = tuple(lucky)
            shares, excess = self._class(rows, demand, own, lucky)
            for place in own:
                for one, column in enumerate(shares[place]):
                    if not self._keeps(place, demand.index, demand.least[one]):
                        rows.add([(column, 1.0)], 0.0, 0.0)
                cuts = self.replicas[place][self.variant[demand.index, place]].cuts[:, demand.index, :]
                for row, cut in enumerate(cuts):
                    if np.isnan(cut).any():
                        continue
                    terms = used[place].setdefault(row, [])
                    work = demand.least @ cut
                    terms += [(column, work[one]) for one, column in enumerate(shares[place])]
                    terms += [(column, cut[kind] * demand.total[kind]) for kind, column in excess[place].items()]
            for place in bought:
                bill += self._bill(place, demand, shares[split + place], excess[split + place])
                sent[place] += [(column, 1.0 / lucky[place]) for column in shares[split + place]]
                for column in (*shares[split + place], *excess[split + place].values()):
                    limit = demand.needed if column in shares[split + place] else 1.0
                    rows.add([(column, 1.0), (split + place, -limit)], -math.inf, 0.0)
        minutes = part.seconds / 60.0
        for place, provider in enumerate(self.space.providers):
            per_minute = provider.spec.limits.requests_per_minute
            if per_minute is not None:
                # Its bucket is full at the beginning of each replication.
                rows.add(sent[place], -math.inf, per_minute * (minutes + self.replications))
        for place, cuts in enumerate(used):
            every = [row for row in cuts if self._holds_for_all_variants(place, row)]
            for row in every:
                rows.add([*cuts[row], (place, -headroom * part.seconds)], -math.inf, 0.0)
        return bill

    def _class(
        self, rows: _Rows, demand: ClassDemand, own: Sequence[int], lucky: dict[int, float]
    ) -> tuple[dict[int, list[int]], dict[int, dict[int, int]]]:
        """Add the variables of a class: by place, requests of each bin, and the excess of each kind of work."""
        split = len(self.space.candidates)
        places = [*own, *(split + place for place in lucky)]
        shares = {place: [rows.column() for _ in demand.bins] for place in places}
        kinds = [kind for kind in range(len(KINDS)) if demand.total[kind] > 0.0]
        excess = {place: {kind: rows.column() for kind in kinds} for place in places}
        every = [column for columns in shares.values() for column in columns]
        rows.add([(column, 1.0) for column in every], demand.needed, math.inf)
        for one, size in enumerate(demand.bins):
            sent = [(shares[place][one], 1.0) for place in own]
            sent += [(shares[split + place][one], 1.0 / share) for place, share in lucky.items()]
            rows.add(sent, 0.0, float(size))
        for kind in kinds:
            total = demand.total[kind]
            terms = [(excess[place][kind], 1.0) for place in places]
            terms += [
                (column, demand.least[one, kind] / total)
                for place in places
                for one, column in enumerate(shares[place])
            ]
            rows.add(terms, 1.0, math.inf)
        return shares, excess

    def _bill(
        self, place: int, demand: ClassDemand, shares: Sequence[int], excess: dict[int, int]
    ) -> list[tuple[int, float]]:
        """Return what a provider bills for a class: prompts at the lower of its prices, all answers it keeps."""
        provider = self.space.providers[place]
        output = provider.usd_per_output_token
        prompt = provider.usd_per_prompt_token
        if provider.spec.prompt_cache is not None:
            prompt = min(prompt, provider.usd_per_cached_token)
        terms = [
            (column, output * (demand.least[one, DECODED] + 1.0) + prompt * demand.least[one, PROMPT])
            for one, column in enumerate(shares)
        ]
        prices = dict(zip(_BILLED, (output, prompt), strict=True))
        return terms + [
            (column, prices[kind] * demand.total[kind]) for kind, column in excess.items() if kind in prices
        ]

    def _can(self, place: int, index: int) -> bool:
        """Tell whether a candidate can serve a class within its promise of TPOT at all."""
        cuts = self.replicas[place][self.variant[index, place]].cuts[:, index, :]
        return not np.isinf(cuts).any()

    def _keeps(self, place: int, index: int, work: Floats) -> bool:
        """Tell whether a candidate keeps a class's promises to a request that small, alone on a replica."""
        key = (place, index, tuple(work.tolist()))
        if key not in self._alone:
            one = self.space.candidates[place]
            deployment = one.plan.variants[self.variant[index, place]]
            self._alone[key] = keeps_alone(self.space.scenario.workload[index], one.plan, deployment, work)
        return self._alone[key]

    def _holds_for_all_variants(self, place: int, row: int) -> bool:
        """Tell whether a cut holds for every model that a candidate may load."""
        return not any(np.isnan(one.cuts[row]).any() for one in self.replicas[place])

    def usage(self, place: int, index: int) -> Floats:
        """Return the seconds that a candidate needs at least per unit of each kind of work of a class, cut by cut."""
        cuts = self.replicas[place][self.variant[index, place]].cuts[:, index, :]
        found: Floats = cuts[~np.isnan(cuts).any(axis=1)]
        return found


def _lucky_share(each: WorkloadClass, provider: ProviderPlan) -> float:
    """Return the share of a provider's answers that can keep a class's promises, in so far as each of them can."""
    ttft_s, rates = provider.draws
    first = min((limit for limit in (each.promise.ttft, each.promise.e2e, each.promise.deadline) if limit is not None),
                default=math.inf)  # fmt: skip
    further = math.inf if each.promise.tpot is None else each.promise.tpot
    return float(min((ttft_s <= first).mean(), (1.0 / rates <= further * (1.0 + 1e-9)).mean()))


class _Rows:
    """Linear constraints as they are collected."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._entries: list[tuple[int, int, float]] = []
        self._lower: list[float] = []
        self._upper: list[float] = []

    def column(self) -> int:
        """Return a new variable."""
        self.columns += 1
        return self.columns - 1

    def add(self, terms: Sequence[tuple[int, float]], lower: float, upper: float) -> None:
        """Add ``lower ≤ Σ value · variable ≤ upper``."""
        row = len(self._lower)
        self._entries += [(row, column, value) for column, value in terms]
        self._lower.append(lower)
        self._upper.append(upper)

    def constraints(self) -> LinearConstraint:
        """Return all of them."""
        rows, columns, values = zip(*self._entries, strict=True)
        shape = (len(self._lower), self.columns)
        return LinearConstraint(sparse.csr_array((values, (rows, columns)), shape=shape), self._lower, self._upper)
