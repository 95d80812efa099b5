"""Requests against the step tables of the pools they may go to: none may be longer than what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.errors import InputError
from inferencesim.kernel.graph_tables import CALL
from inferencesim.kernel.tables import ELIGIBLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.gateway import Gateway
    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.graph_parts import Graphs
    from inferencesim.workload.load import Load


def require_measured_load(plan: Plan, load: Load, graphs: Graphs) -> None:
    """Raise if a request of the load or of a task is beyond a step table; see :func:`require_measured`."""
    require_measured(plan, load.class_index, load.prompt_tokens, load.output_tokens)
    calls = graphs.nodes[graphs.nodes["kind"] == CALL]
    require_measured(plan, calls["index"], calls["prompt_tokens"], calls["output_tokens"])


def require_measured_turns(plan: Plan, gateway: Gateway) -> None:
    """Raise if a turn drawn for a client is beyond a step table; see :func:`require_measured`."""
    turns = gateway.turns
    classes = np.broadcast_to(gateway.clients["class_index"][:, np.newaxis], turns.shape)
    require_measured(plan, classes.ravel(), turns["prompt_tokens"].ravel(), turns["output_tokens"].ravel())


def require_measured(
    plan: Plan, classes: NDArray[np.int64], prompt_tokens: NDArray[np.int64], output_tokens: NDArray[np.int64]
) -> None:
    """Raise if a request is longer than the step table of a pool that may be given it.

    A request longer than the pool's context limit is no business of its table:
    the pool rejects it.

    Raises
    ------
    InputError
        Naming pool, axis, value and limit.
    """
    total = prompt_tokens + output_tokens
    for index, pool in enumerate(plan.pools):
        deployment = pool.deployment
        if deployment.table is None:
            continue
        # The KV of the last token is never read: a request may be one token longer than its longest context.
        longest = deployment.table.longest_context + 1
        eligible = plan.verdicts[classes, index] == ELIGIBLE
        beyond = np.flatnonzero(eligible & (total > longest) & (total <= deployment.context_limit))
        if beyond.size:
            i = beyond[total[beyond].argmax()]
            raise InputError(
                f"pools[{index}].latency.table",
                f"pool {pool.name!r} has no step times for a context of {total[i] - 1} tokens, which a request of "
                f"class {plan.scenario.workload[classes[i]].name!r} ({prompt_tokens[i]} + {output_tokens[i]}) "
                f"reaches; its table was measured up to {longest - 1:g}",
                "Measure further, keep such requests away from the pool, or leave latency out for the analytic model.",
            )
