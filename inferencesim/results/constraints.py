"""The hard constraints of a run, held against the rows it recorded.

What each class may use is settled anew from the manifest's scenario, by the
function that settled it for the simulation; recorded verdicts are checked
against that, not believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from inferencesim.kernel.tables import (
    CONTEXT_TOO_LONG,
    ELIGIBLE,
    MODEL_NOT_SERVED,
    NOT_CAPABLE,
    OTHER_MODEL,
    OUTSIDE_RESIDENCY,
    POWER_LIMITED,
    PRECISION_TOO_LOW,
    PREFILLS_ONLY,
    PROVIDER_REFUSED,
    QUEUE_FULL,
    QUOTA_EXCEEDED,
    RATE_LIMITED,
    SHED,
    UNHEALTHY,
    VERDICTS,
)
from inferencesim.results.causes import PROMISES, codes, overshoots
from inferencesim.results.findings import Constraint
from inferencesim.results.quotas import entered_s, was_decided
from inferencesim.scenario.providers import Limits
from inferencesim.simulation.failures import outages, replicas_of
from inferencesim.simulation.plan import verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.simulation.failures import Outages
    from inferencesim.simulation.plan import Plan

#: What no request may be, by the verdict that would have kept it from it.
_STATEMENTS = {
    OUTSIDE_RESIDENCY: "no request outside its residency zone",
    PRECISION_TOO_LOW: "no request below the precision it tolerates",
    MODEL_NOT_SERVED: "no request where its model is not served",
    NOT_CAPABLE: "no request on a model that cannot do its kind of work",
    CONTEXT_TOO_LONG: "no request where prompt and output together do not fit",
    PREFILLS_ONLY: "no request placed in a pool that only prefills for others",
    PROVIDER_REFUSED: "no request at an outside provider that its class refuses",
}
_HEALTHY = "no request placed on a replica, or sent to a provider, that was down"
_ELSEWHERE = "no request prefilled but in its pool, or where that has its prompts prefilled"
_NAMES = "every row names a class, a pool and a replica, or a provider, of the scenario"
_MATCH = "requests and decisions match one to one"
_CHOSEN = "every request went where its decision calls it eligible, or nothing was"
_VERDICTS = "recorded verdicts are those that the scenario gives"
_PROMISES = "recorded promises are kept or broken as the recorded times say"

#: Of a moment that was recorded as two numbers.
_ROUNDING = 1e-12

_NO_REQUESTS = "requests were not recorded"
_NO_DECISIONS = "decisions were not recorded"


@dataclass(frozen=True)
class _Rows:
    """Rows of requests or of decisions, with names as codes.

    Attributes
    ----------
    frame : DataFrame
    classes, candidates : ndarray of int64
        −1 for what the scenario does not have; of candidates, pools and then providers, also for what was placed
        nowhere, or in both.
    """

    frame: pd.DataFrame
    classes: NDArray[np.int64]
    candidates: NDArray[np.int64]

    @classmethod
    def of(cls, frame: pd.DataFrame, plan: Plan) -> _Rows:
        """Return the rows of a table."""
        pools, providers = codes(frame["pool"], _pools(plan)), codes(frame["provider"], _providers(plan))
        candidates = np.where(providers >= 0, len(plan.pools) + providers, pools)
        candidates[frame["pool"].notna() & frame["provider"].notna()] = -1
        return cls(frame, codes(frame["class"], _classes(plan)), candidates)

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Whether a row says that it was placed somewhere."""
        said: NDArray[np.bool_] = (self.frame["pool"].notna() | self.frame["provider"].notna()).to_numpy()
        return said

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether a row was placed somewhere, and names nothing that does not exist."""
        return (self.classes >= 0) & (self.candidates >= 0)

    def finding(self, name: str, statement: str, rows: int, broken: NDArray[np.bool_], why: str = "") -> Constraint:
        """Return what was found of a constraint, given the rows that break it."""
        ids = np.sort(self.frame["request_id"].to_numpy(np.int64)[broken])
        return Constraint.judged(name, statement, rows, ids, why)


def check_constraints(
    plan: Plan, requests: pd.DataFrame | None, decisions: pd.DataFrame | None, end_s: float | None
) -> tuple[Constraint, ...]:
    """Hold every hard constraint against the rows of a run.

    Parameters
    ----------
    plan : Plan
        Of the manifest's scenario.
    requests, decisions : DataFrame or None
        Its tables; None where one is not there, which leaves some constraints unproven.
    end_s : float or None
        When the simulation stopped; None of a run that did not come to its end.
    """
    asked = None if requests is None else _Rows.of(requests, plan)
    decided = None if decisions is None else _Rows.of(decisions, plan)
    down = outages(plan)
    found = [
        *_placed(plan, asked, decided),
        _context(plan, asked),
        _healthy(plan, down, asked, decided),
        _prefilled(plan, asked),
        _names(plan, asked, decided),
        _match(asked, decided, ended=end_s is not None),
        _chosen(plan, decided),
        _recorded(plan, down, asked, decided),
        _promised(plan, asked, end_s),
    ]
    return tuple(found)


def _placed(plan: Plan, asked: _Rows | None, decided: _Rows | None) -> list[Constraint]:
    """Check the constraints that depend on class and pool only; a prompt read in another pool is bound there too."""
    found = []
    rows = decided if asked is None else asked
    own = np.array([verdict(each, pool) for each in plan.scenario.workload for pool in plan.pools], np.int64)
    own = own.reshape(len(plan.scenario.workload), len(plan.pools))
    for code, statement in _STATEMENTS.items():
        name = VERDICTS[code]
        if code == CONTEXT_TOO_LONG:
            continue
        if rows is None:
            found.append(Constraint.unproven(name, statement, f"{_NO_REQUESTS}, nor were decisions"))
            continue
        known = np.flatnonzero(rows.known)
        broken = np.zeros(len(rows.frame), np.bool_)
        broken[known] = plan.verdicts[rows.classes[known], rows.candidates[known]] == code
        if asked is not None:
            helper = codes(asked.frame["prefill_pool"], _pools(plan))
            helped = np.flatnonzero((helper >= 0) & (asked.classes >= 0))
            broken[helped] |= own[asked.classes[helped], helper[helped]] == code
        found.append(rows.finding(name, statement, known.size, broken, _went(rows, broken)))
    return found


def _went(rows: _Rows, broken: NDArray[np.bool_]) -> str:
    """Name the pools and providers that took what they may not."""
    if not broken.any():
        return ""
    where = rows.frame.loc[broken, ["class", "pool", "provider"]].drop_duplicates()
    return "; ".join(
        f"{name} in pool {pool}" if pd.isna(provider) else f"{name} at provider {provider}"
        for name, pool, provider in where.itertuples(index=False, name=None)
    )


def _context(plan: Plan, asked: _Rows | None) -> Constraint:
    name, statement = VERDICTS[CONTEXT_TOO_LONG], _STATEMENTS[CONTEXT_TOO_LONG]
    if asked is None:
        return Constraint.unproven(name, statement, f"{_NO_REQUESTS}, and decisions do not say how long they were")
    known = np.flatnonzero(asked.known)
    broken = np.zeros(len(asked.frame), np.bool_)
    broken[known] = _total(asked)[known] > _limits(plan)[asked.classes[known], asked.candidates[known]]
    return asked.finding(name, statement, known.size, broken, _went(asked, broken))


def _healthy(plan: Plan, down: Outages, asked: _Rows | None, decided: _Rows | None) -> Constraint:
    """Check where requests were placed against the schedule of failures, which the scenario and its seed give."""
    rows = asked if decided is None else decided
    if rows is None:
        return Constraint.unproven(VERDICTS[UNHEALTHY], _HEALTHY, f"{_NO_REQUESTS}, nor were decisions")
    # Decisions have the moment exactly; of requests that were held it is a sum.
    times_s = entered_s(rows.frame) if decided is None else rows.frame["time_s"].to_numpy(np.float64)
    replica, known = rows.frame["replica"].to_numpy(np.float64, na_value=-1.0), rows.known
    # Outages number providers after the last replica.
    provider = codes(rows.frame["provider"], tuple(each.name for each in plan.providers))
    target = np.where(provider >= 0, plan.replicas + provider, replica)
    broken = np.zeros(len(rows.frame), np.bool_)
    for number in np.unique(down.target).tolist():
        there = np.flatnonzero(known & (target == number))
        broken[there] = down.down_at(number, times_s[there])
    return rows.finding(VERDICTS[UNHEALTHY], _HEALTHY, int(known.sum()), broken, _went(rows, broken))


def _all_down(plan: Plan, down: Outages, times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell at which moments which candidates have no replica that is up, shape (moments, candidates)."""
    providers = [range(plan.replicas + index, plan.replicas + index + 1) for index in range(len(plan.providers))]
    return np.stack([down.all_down_at(each, times_s) for each in (*replicas_of(plan), *providers)], axis=1)


def _limits(plan: Plan) -> NDArray[np.int64]:
    """Return the longest prompt + output of each class at each candidate; of one it may not use, no limit."""
    limits = np.array(plan.context_limits, np.int64)[plan.rows]
    outside = np.array([provider.context_limit for provider in plan.providers], np.int64)
    limits = np.hstack([limits, np.broadcast_to(outside, (len(limits), outside.size))])
    return np.where(plan.verdicts == ELIGIBLE, limits, np.iinfo(np.int64).max)


def _total(asked: _Rows) -> NDArray[np.int64]:
    total: NDArray[np.int64] = (asked.frame["prompt_tokens"] + asked.frame["output_tokens"]).to_numpy(np.int64)
    return total


def _prefilled(plan: Plan, asked: _Rows | None) -> Constraint:
    if asked is None:
        return Constraint.unproven("prefill_pool", _ELSEWHERE, _NO_REQUESTS)
    names = _pools(plan)
    helpers = [None if pool.spec.prefill_in is None else pool.spec.prefill_in.pool for pool in plan.pools]
    of_pool = np.array([-1 if helper is None else names.index(helper) for helper in helpers] + [-1])
    elsewhere = asked.frame["prefill_pool"].notna().to_numpy()
    helper = codes(asked.frame["prefill_pool"], names)
    pools = np.where(asked.candidates < len(names), asked.candidates, -1)
    broken = elsewhere & ((helper < 0) | (helper != of_pool[pools]))
    return asked.finding("prefill_pool", _ELSEWHERE, int(elsewhere.sum()), broken, _went(asked, broken))


def _names(plan: Plan, asked: _Rows | None, decided: _Rows | None) -> Constraint:
    rows = decided if asked is None else asked
    if rows is None:
        return Constraint.unproven("names", _NAMES, f"{_NO_REQUESTS}, nor were decisions")
    ends = np.cumsum([pool.replicas for pool in plan.pools])
    starts = np.concatenate([[0], ends])
    replica = rows.frame["replica"].to_numpy(np.float64, na_value=np.nan)
    pools = np.where(rows.candidates < len(plan.pools), rows.candidates, -1)
    inside = (replica >= starts[pools]) & (replica < ends[pools])
    misplaced = np.where(pools >= 0, ~inside, ~np.isnan(replica))
    broken = (rows.classes < 0) | misplaced | (rows.placed & (rows.candidates < 0))
    return rows.finding(
        "names", _NAMES, len(rows.frame), broken, "a class, pool, provider or replica is not the scenario's"
    )


def _match(asked: _Rows | None, decided: _Rows | None, *, ended: bool) -> Constraint:
    """Check that each request has one decision, which put it there when it came; of those inside, none is known.

    Who was held came when it was let go on; who never was has no decision.
    """
    if asked is None or decided is None:
        return Constraint.unproven("one_to_one", _MATCH, _NO_REQUESTS if asked is None else _NO_DECISIONS)
    one = _as_numbers(asked, entered_s(asked.frame))[was_decided(asked.frame)]
    other = _as_numbers(decided, decided.frame["time_s"].to_numpy(np.float64))
    how: Literal["outer", "inner"] = "outer" if ended else "inner"
    pair = one.merge(other, on="request_id", how=how, suffixes=("", "_decided"), indicator=True)
    broken = (pair["_merge"] != "both").to_numpy() | pair["request_id"].duplicated(keep=False).to_numpy()
    for name in ("class", "candidate", "replica"):
        broken |= (pair[name] != pair[f"{name}_decided"]).to_numpy()
    broken |= ~np.isclose(pair["time_s"], pair["time_s_decided"], rtol=_ROUNDING, atol=0.0)
    both = _Rows(pair, np.zeros(0, np.int64), np.zeros(0, np.int64))
    why = "a request without its decision, a decision without its request, or two that contradict each other"
    if not ended and not broken.any():
        unknown = "the run did not come to its end, where requests were still inside"
        return Constraint.unproven("one_to_one", _MATCH, unknown)
    return both.finding("one_to_one", _MATCH, len(pair), broken, why)


def _as_numbers(rows: _Rows, time_s: NDArray[np.float64]) -> pd.DataFrame:
    """Return what requests and decisions both say, with codes for names and −1 for none."""
    numbers = {
        "request_id": rows.frame["request_id"],
        "class": rows.classes,
        "candidate": rows.candidates,
        "replica": rows.frame["replica"].to_numpy(np.float64, na_value=-1.0),
        "time_s": time_s,
    }
    return pd.DataFrame(numbers)


def _chosen(plan: Plan, decided: _Rows | None) -> Constraint:
    if decided is None:
        return Constraint.unproven("eligible", _CHOSEN, _NO_DECISIONS)
    said = _recorded_verdicts(plan, decided.frame)
    rows = np.arange(len(decided.frame))
    chosen = said[rows, np.maximum(decided.candidates, 0)] == ELIGIBLE
    broken = np.where(decided.placed, ~chosen | (decided.candidates < 0), (said == ELIGIBLE).any(axis=1))
    return decided.finding("eligible", _CHOSEN, rows.size, broken, _went(decided, broken))


def _recorded(plan: Plan, down: Outages, asked: _Rows | None, decided: _Rows | None) -> Constraint:
    """Check recorded verdicts against those settled anew.

    Only how full queues and buckets were, how much power was left, how high the load, and which of its models a class
    with `answers` asked, is taken from the record.
    """
    if asked is None or decided is None:
        return Constraint.unproven("verdicts", _VERDICTS, _NO_REQUESTS if asked is None else _NO_DECISIONS)
    lengths = pd.Series(_total(asked), index=asked.frame["request_id"])
    lengths = lengths[~lengths.index.duplicated()]
    total = lengths.reindex(decided.frame["request_id"], fill_value=-1).to_numpy()
    judged = (decided.classes >= 0) & (total >= 0)
    said = _recorded_verdicts(plan, decided.frame)
    expected = plan.verdicts[decided.classes] if len(plan.scenario.workload) else said
    if judged.any():
        long = total[:, None] > _limits(plan)[decided.classes]
        expected = np.where((expected == ELIGIBLE) & long, CONTEXT_TOO_LONG, expected)
        gone = _all_down(plan, down, decided.frame["time_s"].to_numpy())
        expected = np.where((expected == ELIGIBLE) & gone, UNHEALTHY, expected)
    full_when = [_when_full(plan, candidate) for candidate in range(len(plan.candidates))]
    full = (said == np.array(full_when)) & (expected == ELIGIBLE)
    full |= (said == POWER_LIMITED) & _is_power_limited(plan) & (expected == ELIGIBLE)
    turned_away = _turns_away(plan, said[:, :1])[np.arange(len(said)), decided.classes]
    away = (said == said[:, :1]).all(axis=1) & turned_away
    cascades = np.array([each.answers is not None for each in plan.scenario.workload] + [False])[decided.classes]
    other = (said == OTHER_MODEL) & (expected != said) & np.isin(expected, (ELIGIBLE, CONTEXT_TOO_LONG, UNHEALTHY))
    differs = (said != expected) & ~full & judged[:, None] & ~away[:, None] & ~(other & cascades[:, None])
    names = [plan.candidates[index] for index in np.flatnonzero(differs.any(axis=0))]
    broken = differs.any(axis=1)
    return decided.finding("verdicts", _VERDICTS, int(judged.sum()), broken, f"on {', '.join(names)}")


def _when_full(plan: Plan, candidate: int) -> int:
    """Return the verdict of a candidate that has no room at the moment; ELIGIBLE of one that always has."""
    if candidate < len(plan.pools):
        return ELIGIBLE if plan.pools[candidate].spec.queue_limit is None else QUEUE_FULL
    limits = plan.providers[candidate - len(plan.pools)].spec.limits
    return ELIGIBLE if limits == Limits() else RATE_LIMITED


def _is_power_limited(plan: Plan) -> NDArray[np.bool_]:
    """Tell which candidates a limit on power is on."""
    limits = plan.scenario.power
    pools = [any(limit.is_on(pool.spec) for limit in limits) for pool in plan.pools]
    return np.array(pools + [False] * len(plan.providers), np.bool_)


def _turns_away(plan: Plan, said: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell whether flow control may give a class such a verdict, shape (verdicts, classes)."""
    flow, workload = plan.scenario.flow, plan.scenario.workload
    bands = {band for rule in flow.shed for band in rule.bands}
    shed = np.array([each.priority in bands for each in workload], np.bool_)
    shedding = {name for name, quota in flow.quotas.items() if quota.beyond == "shed"}
    limited = np.array([(each.tags.tenant or each.name) in shedding for each in workload], np.bool_)
    away: NDArray[np.bool_] = ((said == SHED) & shed) | ((said == QUOTA_EXCEEDED) & limited)
    return away


def _recorded_verdicts(plan: Plan, decisions: pd.DataFrame) -> NDArray[np.int64]:
    """Return the codes that decisions hold, shape (decisions, candidates); −1 for what is no verdict."""
    return np.stack([codes(decisions[f"verdict_{name}"], VERDICTS) for name in plan.candidates], axis=1)


def _promised(plan: Plan, asked: _Rows | None, end_s: float | None) -> Constraint:
    """Check the recorded word on each promise against the recorded times."""
    if asked is None or end_s is None:
        why = _NO_REQUESTS if asked is None else "the run did not come to its end, so what was open is not known"
        return Constraint.unproven("promises", _PROMISES, why)
    frame = asked.frame
    over = overshoots(frame, plan.scenario, end_s)
    late = np.zeros(len(frame), np.bool_)
    for name in PROMISES[:-1]:
        late |= over[name] > 1.0
    outcome = frame["outcome"].astype(str).to_numpy()
    inside = outcome == "open"
    late |= ~inside & (outcome != "completed")
    recorded = frame["promise_kept"].astype(object)
    missed, undecided = (recorded == False).to_numpy(np.bool_), recorded.isna().to_numpy()  # noqa: E712 - not null
    slow = np.array([each.promise.slowdown is not None for each in plan.scenario.workload] + [False])[asked.classes]
    # A task gave it up, and went on: nobody waits for it.
    given_up = undecided & (outcome == "cancelled") & frame["task_class"].notna().to_numpy()
    broken = (late & ~missed & ~given_up) | (~late & missed & ~slow) | (undecided & ~inside & ~given_up)
    return asked.finding("promises", _PROMISES, len(frame), broken, "the times say otherwise")


def _classes(plan: Plan) -> tuple[str, ...]:
    return tuple(each.name for each in plan.scenario.workload)


def _pools(plan: Plan) -> tuple[str, ...]:
    return tuple(pool.name for pool in plan.pools)


def _providers(plan: Plan) -> tuple[str, ...]:
    return tuple(provider.name for provider in plan.providers)
