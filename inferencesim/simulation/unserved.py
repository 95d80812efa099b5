"""Classes whose requests a fleet will turn away, told before anything is simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.graph_tables import CALL
from inferencesim.kernel.tables import ELIGIBLE, VERDICTS
from inferencesim.scenario.arrivals import Closed
from inferencesim.workload.closed import mean_lengths

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.graph_parts import Graphs
    from inferencesim.workload.load import Load

#: Share of a class's requests that may be too long for every candidate before a user is told: distributions have tails.
_TAIL = 0.01


def unserved(plan: Plan, load: Load, graphs: Graphs) -> tuple[str, ...]:
    """Say of each class that nobody may serve, or whose requests are too long for all that may, that it is so.

    Such a scenario is played all the same: what it rejects, and why, is a result.

    Parameters
    ----------
    plan : Plan
    load : Load
        Of a closed loop, whose requests are drawn later, the mean lengths stand for all.
    graphs : Graphs
    """
    said = []
    for index, each in enumerate(plan.scenario.workload):
        verdicts = plan.verdicts[index]
        if not (verdicts == ELIGIBLE).any():
            reasons = (f"{name}: {VERDICTS[code]}" for name, code in zip(plan.candidates, verdicts, strict=True))
            said.append(
                f"workload[{index}]: nobody may serve {each.name}, so all of it is rejected ({', '.join(reasons)})"
            )
            continue
        total = (
            np.array([sum(mean_lengths(each))]) if isinstance(each.arrivals, Closed) else _total(load, graphs, index)
        )
        limit = _longest(plan, index)
        share = float((total > limit).mean()) if total.size else 0.0
        if share >= _TAIL:
            said.append(
                f"workload[{index}]: {share:.0%} of the requests of {each.name} are rejected: prompt and output, up to "
                f"{total.max():,.0f} tokens, are more than the {limit:,.0f} of any pool or provider that may serve it"
            )
    return tuple(said)


def _total(load: Load, graphs: Graphs, index: int) -> NDArray[np.int64]:
    """Return prompt and output together of every request of a class."""
    calls = graphs.nodes[(graphs.nodes["kind"] == CALL) & (graphs.nodes["index"] == index)]
    of_class = load.class_index == index
    alone = load.prompt_tokens[of_class] + load.output_tokens[of_class]
    return np.concatenate([alone, calls["prompt_tokens"] + calls["output_tokens"]])


def _longest(plan: Plan, index: int) -> float:
    """Return the longest prompt and output that anybody who may serve a class takes."""
    limits = [plan.context_limits[row] for row in plan.rows[index] if row >= 0]
    outside = plan.verdicts[index, len(plan.pools) :] == ELIGIBLE
    limits += [provider.context_limit for provider, may in zip(plan.providers, outside, strict=True) if may]
    return float(max(limits))
