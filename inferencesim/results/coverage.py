"""How much of a run its evidence covers, and whether it is all there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.sample import are_kept
from inferencesim.results.causes import codes
from inferencesim.results.findings import Constraint, Coverage
from inferencesim.workload.graphs import task_classes

if TYPE_CHECKING:
    import pandas as pd

    from inferencesim.results.run import Run
    from inferencesim.simulation.plan import Plan

_ALL_THERE = "as many requests as the summary counts, each outcome by itself"
_IN_SAMPLE = "every row kept is of a task that the sample holds"


def coverage_of(run: Run, requests: pd.DataFrame | None) -> Coverage:
    """Return how much of a run the rows of its `requests` cover, and what cannot be proven of the rest."""
    evidence = run.evidence
    kept = 0 if requests is None else len(requests)
    arrived = run.summary.conservation.arrived if run.complete else None
    of = f"{kept:,} requests" if arrived is None else f"{kept:,} of {arrived:,} requests"
    why = {
        "full": "",
        "sampled": f"Evidence was sampled: what is proven is proven of {of}, and nothing of the others. "
        "That no row of the sample was left out cannot be proven.",
        "off": "Evidence was off: no request has a row, so it cannot be proven that constraints were kept, nor why "
        "promises broke.",
    }[evidence]
    return Coverage(evidence=evidence, kept=kept, arrived=arrived, why=why)


def all_there(run: Run, requests: pd.DataFrame | None, plan: Plan) -> tuple[Constraint, ...]:
    """Hold the rows against the summary's counts, and those of a sample against the tasks it should hold.

    A request left out breaks no constraint of its own. In a sample nobody misses it; one too many is found.
    """
    if requests is None:
        return ()
    sampled = run.evidence == "sampled"
    found = [_in_sample(plan, requests)] if sampled else []
    if run.complete:
        found.append(_counted(run, requests, sampled=sampled))
    return tuple(found)


def _in_sample(plan: Plan, requests: pd.DataFrame) -> Constraint:
    """Check that each row is of a task that seed and share put into the sample."""
    scenario = plan.scenario
    classes = tuple(each.name for each in scenario.workload)
    owner = codes(requests["task_class"], task_classes(scenario))
    # Classes of tasks are numbered after those of the workload.
    class_index = np.where(owner >= 0, len(classes) + owner, codes(requests["class"], classes))
    task = requests["task"].to_numpy(np.int64)
    strange = ~are_kept(scenario.seed, scenario.recording.kept_share, class_index, task)
    ids = np.sort(requests["request_id"].to_numpy(np.int64)[strange])
    return Constraint.judged("in_sample", _IN_SAMPLE, len(requests), ids, "seed and share put other tasks into it")


def _counted(run: Run, requests: pd.DataFrame, *, sampled: bool) -> Constraint:
    said = run.summary.conservation.model_dump()
    arrived = said.pop("arrived")
    outcomes = requests["outcome"].astype(str).value_counts().to_dict()
    there = {name: int(outcomes.get(name, 0)) for name in said}
    differs = [
        f"{said[name]:,} {name} in the summary, {there[name]:,} rows"
        for name in said
        if there[name] > said[name] or (there[name] < said[name] and not sampled)
    ]
    missing = max(0, len(requests) - arrived) if sampled else abs(arrived - len(requests))
    unproven = sampled and not differs
    return Constraint(
        name="all_there",
        statement=_ALL_THERE,
        state="unproven" if unproven else "broken" if differs or missing else "proven",
        rows=0 if unproven else len(requests),
        broken=max(missing, len(differs)),
        examples=(),
        why="only a sample of the rows was kept" if unproven else "; ".join(differs),
    )
