"""Flow control, laid out from a plan for the kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.flow_tables import DEFERRAL, LINE, QUOTA_OF, Flow
from inferencesim.kernel.tables import ELIGIBLE
from inferencesim.simulation.deferral import deferral_windows
from inferencesim.simulation.traits import reference_pools

if TYPE_CHECKING:
    from typing import Any

    from inferencesim.kernel.tables import Records
    from inferencesim.scenario.flow import Defer, Quota
    from inferencesim.simulation.plan import Plan

_MINUTE_S = 60.0


def tenants_of(plan: Plan) -> list[str]:
    """Return the tenants in the order of their numbers: stated ones, and classes that are their own."""
    return sorted({each.tags.tenant or each.name for each in plan.scenario.workload})


def kernel_flow(plan: Plan, traits: Records) -> Flow:
    """Lay out flow control with nobody held."""
    flow, workload = plan.scenario.flow, plan.scenario.workload
    tenants = tenants_of(plan)
    lines = np.zeros(len(workload) + len(tenants), LINE)
    lines["head"] = lines["tail"] = -1
    lines["opens_s"] = math.inf
    quotas = np.zeros(len(tenants), QUOTA_OF)
    for row, name in zip(quotas, tenants, strict=True):
        _write_quota(row, flow.quotas.get(name))
    in_band = [[each.priority in rule.bands for each in workload] for rule in flow.shed]
    return Flow(
        active=int(flow.is_active),
        lines=lines,
        quotas=quotas,
        deferrals=_deferrals(plan, traits, flow.defer),
        windows=np.array(deferral_windows(plan), np.float64).reshape(-1, 2),
        thresholds=np.array(
            [(rule.above, rule.above if rule.below is None else rule.below) for rule in flow.shed], np.float64
        ).reshape(-1, 2),
        shedding=np.where(np.array(in_band, np.bool_).reshape(len(flow.shed), len(workload)), 0, -1),
        uses=(plan.verdicts[:, : len(plan.pools)] == ELIGIBLE).astype(np.int64),
        seats=np.array([pool.replicas * pool.spec.batching.max_sequences for pool in plan.pools], np.int64),
    )


def _write_quota(row: Any, quota: Quota | None) -> None:
    row["most_in_flight"] = -1
    if quota is None:
        return
    row["limited"] = 1
    row["queues"] = quota.beyond == "queue"
    row["burst_s"] = quota.burst
    if quota.requests_per_minute is not None:
        row["request_s"] = _MINUTE_S / quota.requests_per_minute
    if quota.tokens_per_minute is not None:
        row["token_s"] = _MINUTE_S / quota.tokens_per_minute
    if quota.in_flight is not None:
        row["most_in_flight"] = quota.in_flight


def _deferrals(plan: Plan, traits: Records, defer: Defer | None) -> Records:
    table = np.zeros(len(plan.scenario.workload), DEFERRAL)
    table["promised_s"] = math.inf
    if defer is None:
        return table
    table["pool"] = reference_pools(plan, traits)
    table["batch"] = defer.batch or 0
    table["load_below"] = defer.load_below or 0.0
    table["margin"] = defer.margin
    for row, each in zip(table, plan.scenario.workload, strict=True):
        promised = [limit for limit in (each.promise.e2e, each.promise.deadline) if limit is not None]
        row["deferrable"] = each.tags.batchable
        row["promised_s"] = min(promised, default=math.inf)
    return table
