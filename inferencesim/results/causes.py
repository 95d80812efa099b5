"""Why a promise was broken: which one, and on what the time went that should not have.

The cause of a request that did not complete is its outcome; of one that did, or
is still inside though too late, the first promise that broke, in the order in
which they fall due: TTFT, TPOT, E2E or deadline, slowdown.

Where the time went is told by excess: the seconds of each part beyond those the
same request would have spent in it alone, on a replica of the same pool.

======================  ======================================================================
part                    excess
======================  ======================================================================
``queue``               all waiting: for TTFT until first scheduled, for TPOT after that
``prefill``             prefill beyond its time alone (prompts share a step); not of TPOT
``transfer``            all of it: for TTFT from a tier, for TPOT from another pool
``preemption``          all of it: for TTFT no more than the TTFT
``decode``              decode beyond its time alone (the batch); not of TTFT
======================  ======================================================================

The largest names the cause. Where the time alone breaks the promise already, the cause is
the ``hardware``, whatever else happened; where it does so with the round trip between the user
and the machine, the ``network``. What an outside ``provider`` did with the time of a request it
was sent, nobody can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from inferencesim.deployment.latency import latency_models
from inferencesim.ledger.book import uncontended_e2e_s
from inferencesim.ledger.columns import TIME_PARTS
from inferencesim.ledger.promises import with_rounding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.plan import Plan

#: Promises in the order in which they fall due.
PROMISES = ("ttft", "tpot", "e2e", "deadline", "slowdown")

#: What a request's time can go on.
PARTS = ("queue", "prefill", "transfer", "preemption", "decode")
HARDWARE = "hardware"
NETWORK = "network"
PROVIDER = "provider"

_UNSERVED = ("rejected", "timed_out", "cancelled", "failed")


def codes(column: pd.Series[str], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the place of each name among `names`, −1 for what is missing or not among them."""
    found = column.astype("category").cat
    places = pd.Index(names, dtype=object).get_indexer(found.categories.astype(object))
    # The code of what is missing is −1, which is also the place of the last one.
    return np.append(places, -1)[found.codes].astype(np.int64)


def overshoots(requests: pd.DataFrame, scenario: Scenario, end_s: float) -> dict[str, NDArray[np.float64]]:
    """Return latency over promise per promise: above 1 it is broken, NaN where there is none or it is not known yet.

    Of requests still inside at `end_s`, the time they have taken so far counts. A promised slowdown, which needs
    the load that was drawn, is left to the recorded verdict.

    Parameters
    ----------
    requests : DataFrame
        Rows of the requests table.
    scenario : Scenario
    end_s : float
        When the simulation stopped.
    """
    index = codes(requests["class"], tuple(each.name for each in scenario.workload))
    inside = (requests["outcome"] == "open").to_numpy()
    so_far = np.where(inside, end_s - requests["arrived_s"].to_numpy(), np.nan)
    ttft, e2e = (requests[name].to_numpy(np.float64) for name in ("ttft_s", "e2e_s"))
    measured = {
        "ttft": np.where(np.isnan(ttft), so_far, ttft),
        "tpot": requests["tpot_s"].to_numpy(np.float64),
        "e2e": np.where(np.isnan(e2e), so_far, e2e),
    }
    measured["deadline"] = measured["e2e"]
    found = {}
    for name, seconds in measured.items():
        limits = np.array([getattr(each.promise, name) or np.nan for each in scenario.workload] + [np.nan])
        promised = limits[index]
        ratio = seconds / promised
        # What is kept within rounding is kept.
        found[name] = np.where(seconds <= with_rounding(promised), np.minimum(ratio, 1.0), ratio)
    return found


def causes(broken: pd.DataFrame, plan: Plan, end_s: float) -> pd.DataFrame:
    """Return the cause of each broken promise.

    Parameters
    ----------
    broken : DataFrame
        Rows of the requests table whose promise was not kept.
    plan : Plan
        Of the run's scenario.
    end_s : float
        When the simulation stopped.

    Returns
    -------
    DataFrame
        With the index of `broken`: ``what`` and ``by`` (see :class:`.findings.Cause`), and ``severity``, the
        latency over what was promised, or the seconds spent by those that did not complete.
    """
    what = np.full(len(broken), "slowdown", dtype=object)
    over = overshoots(broken, plan.scenario, end_s)
    severity = np.ones(len(broken))
    for name in reversed(PROMISES[:-1]):
        breaks = over[name] > 1.0
        what[breaks], severity[breaks] = name, over[name][breaks]
    outcome = broken["outcome"].astype(str).to_numpy()
    unserved = np.isin(outcome, _UNSERVED)
    what[unserved] = outcome[unserved]
    spent = (broken["finished_s"] - broken["arrived_s"]).to_numpy(np.float64)
    severity[unserved] = spent[unserved]

    by = _largest_excess(broken, what, plan)
    outside = broken["provider"].notna().to_numpy()
    by[outside] = np.where(_held_longest(broken, what), "queue", PROVIDER)[outside]
    rejected = what == "rejected"
    by[rejected] = broken["reason"].astype(object).to_numpy()[rejected]
    by[(what == "cancelled") | (what == "failed")] = None
    return pd.DataFrame({"what": what, "by": by, "severity": severity}, index=broken.index)


def _held_longest(broken: pd.DataFrame, what: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Tell what was held at the gateway for longer than a provider had it, of the time that a promise is about."""
    waited_s, read_s, made_s = (broken[name].to_numpy(np.float64) for name in ("waiting_s", "prefill_s", "decode_s"))
    held: NDArray[np.bool_] = (waited_s > np.where(what == "ttft", read_s, read_s + made_s)) & (what != "tpot")
    return held


def _largest_excess(broken: pd.DataFrame, what: NDArray[np.object_], plan: Plan) -> NDArray[np.object_]:
    """Return the part with the largest excess; None where nothing exceeds, as of those that never were anywhere."""
    prefill_s, decode_s = _alone(broken, plan)
    names = ("queue_time_s", "ttft_s", *TIME_PARTS)
    seconds = {name: broken[name].to_numpy(np.float64) for name in names}
    first, between = what == "ttft", what == "tpot"
    handed_over = broken["prefill_pool"].notna().to_numpy()
    queued = np.where(np.isnan(seconds["queue_time_s"]), seconds["waiting_s"], seconds["queue_time_s"])
    waiting, transfer, preempted = seconds["waiting_s"], seconds["transfer_s"], seconds["preempted_s"]
    upon = np.where(first & ~np.isnan(seconds["ttft_s"]), seconds["ttft_s"], np.inf)
    excess = {
        "queue": np.select([first, between], [queued, waiting - queued], waiting),
        "prefill": np.where(between, 0.0, seconds["prefill_s"] - prefill_s),
        "transfer": np.select([first, between], [transfer * ~handed_over, transfer * handed_over], transfer),
        "preemption": np.minimum(preempted, upon),
        "decode": np.where(first, 0.0, seconds["decode_s"] - decode_s),
    }
    stacked = np.nan_to_num(np.stack([excess[part] for part in PARTS]))
    by: NDArray[np.object_] = np.array(PARTS, dtype=object)[stacked.argmax(axis=0)]
    by[stacked.max(axis=0) <= 0.0] = None
    # Of what is neither prefill nor decode, the engine has its part alone, too.
    outside_s = np.nan_to_num(seconds["network_s"])
    by[_too_slow_alone(broken, what, plan, prefill_s + outside_s, decode_s)] = NETWORK
    inside_s = prefill_s + outside_s - _round_trips(broken, plan)
    by[_too_slow_alone(broken, what, plan, inside_s, decode_s)] = HARDWARE
    return by


def _round_trips(requests: pd.DataFrame, plan: Plan) -> NDArray[np.float64]:
    """Return the round trip between user and pool of each request; 0 of one that was not answered."""
    pool = codes(requests["pool"], tuple(each.name for each in plan.pools))
    classes = codes(requests["class"], tuple(each.name for each in plan.scenario.workload))
    answered = (pool >= 0) & (classes >= 0) & requests["network_s"].notna().to_numpy()
    return np.where(answered, plan.network_s[classes, pool], 0.0)


def _too_slow_alone(
    broken: pd.DataFrame,
    what: NDArray[np.object_],
    plan: Plan,
    first_s: NDArray[np.float64],
    decode_s: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Tell whose promise is out of reach with the first token after `first_s` and the rest after `decode_s` more."""
    further = broken["output_tokens"].to_numpy() - 1
    alone = broken.assign(
        outcome="completed",
        ttft_s=first_s,
        tpot_s=np.where(further > 0, decode_s / np.maximum(further, 1), np.nan),
        e2e_s=first_s + decode_s,
    )
    found = np.zeros(len(broken), np.bool_)
    for name, over in overshoots(alone, plan.scenario, 0.0).items():
        found |= (what == name) & (over > 1.0)
    return found


def _alone(requests: pd.DataFrame, plan: Plan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the prefill and decode seconds of requests alone on a replica of their pool; NaN without one."""
    scenario = plan.scenario
    names = tuple(pool.name for pool in plan.pools)
    classes = codes(requests["class"], tuple(each.name for each in scenario.workload))
    pool, helper = codes(requests["pool"], names), codes(requests["prefill_pool"], names)
    decodes = np.where((pool >= 0) & (classes >= 0), plan.rows[classes, pool], -1)
    first = np.cumsum([0, *(len(each.variants) for each in plan.pools)])
    prefills = np.where(helper >= 0, first[helper], decodes)
    models = latency_models([each.step_times for each in plan.deployments])
    budgets = np.array([each.batching.token_budget for each in plan.deployments], dtype=np.int64)
    prompt, output = (requests[name].to_numpy(np.int64) for name in ("prompt_tokens", "output_tokens"))
    nothing = np.ones_like(output)
    prefill_s = uncontended_e2e_s(models, budgets, prefills, prompt, nothing)
    before = uncontended_e2e_s(models, budgets, decodes, prompt, nothing)
    return prefill_s, uncontended_e2e_s(models, budgets, decodes, prompt, output) - before
