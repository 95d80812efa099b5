"""The requests that calls made, one after another: each has its reason, and none is one too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.results.causes import codes
from inferencesim.simulation.follow_ups import follow_ups

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from inferencesim.simulation.plan import Plan

    Flags = NDArray[np.bool_]

_ROUNDING_S = 1e-9


def check_tries(plan: Plan, requests: pd.DataFrame, steps: pd.DataFrame) -> tuple[Flags, Flags]:
    """Tell which requests were made without a reason, or too early, and which beyond the budget of their class.

    Parameters
    ----------
    plan : Plan
    requests : DataFrame
        Those of calls, sorted by task (``of``), node and attempt.
    steps : DataFrame
        With the task of each (``of``).
    """
    rules = follow_ups(plan)[codes(requests["class"], tuple(each.name for each in plan.scenario.workload))]
    of, node, attempt = (requests[name].to_numpy(np.int64) for name in ("of", "node", "attempt"))
    outcome, answer = (requests[name].astype(str).to_numpy() for name in ("outcome", "answer"))
    arrived_s = requests["arrived_s"].to_numpy(np.float64)
    finished_s = requests["finished_s"].to_numpy(np.float64, na_value=np.nan)
    further = np.zeros(len(requests), np.bool_)
    further[1:] = (of[1:] == of[:-1]) & (node[1:] == node[:-1])
    before = np.arange(len(requests)) - further

    bad = answer == "bad"
    rejected = (outcome == "rejected") & (rules["after_rejected"] == 1)
    given_up = (outcome == "timed_out") & (rules["after_timed_out"] == 1)
    pause_s = np.where(bad, rules["check_s"], rules["back_off_s"])
    failed = (outcome == "failed") & (rules["after_failed"] == 1)
    reason = bad | rejected | given_up | failed
    due_s = finished_s[before] + pause_s[before]
    unfounded = further & (~reason[before] | (arrived_s < due_s - _ROUNDING_S) | np.isnan(due_s))
    unfounded |= attempt != np.where(further, attempt[before] + 1, 0)
    unfounded |= ~further & _before_its_step(requests, steps)

    badly, in_vain = _so_far(bad[before] & further, further), _so_far(~bad[before] & further, further)
    levels = np.where(rules["escalates"] == 1, np.maximum(rules["levels"], 1), 1)
    too_often = (badly > (rules["retries"] + 1) * levels - 1) | (in_vain > rules["attempts"])
    return unfounded, too_often & further


def _so_far(counted: Flags, further: Flags) -> NDArray[np.int64]:
    """Return how many of a call's requests up to each one are counted."""
    total = np.cumsum(counted).astype(np.int64)
    first = np.maximum.accumulate(np.where(further, 0, np.arange(further.size)))
    return total - total[first] + counted[first].astype(np.int64)


def _before_its_step(requests: pd.DataFrame, steps: pd.DataFrame) -> Flags:
    """Tell which requests came before the step was due that they are a call of, or are of none; unknown is not."""
    due = steps.drop_duplicates(["of", "node"]).set_index(["of", "node"])["due_s"]
    known = requests["of"].isin(steps["of"]).to_numpy(bool)
    due_s = requests[["of", "node"]].join(due, on=["of", "node"])["due_s"].to_numpy(np.float64, na_value=np.nan)
    found: Flags = known & ~(requests["arrived_s"].to_numpy(np.float64) >= due_s - _ROUNDING_S)
    return found
