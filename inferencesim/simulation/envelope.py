"""Requests against the step tables of the pools they may go to: none may be longer than what was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.errors import InputError
from inferencesim.kernel.tables import ELIGIBLE

if TYPE_CHECKING:
    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.load import Load


class MeasuredLengths:
    """The longest request of each class that every step table it may meet covers.

    A request that no engine would take (longer than the pool's context limit)
    is not the table's business: it is rejected as such.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        classes = len(plan.scenario.workload)
        self._limit = np.full(classes, math.inf)
        self._pool = np.zeros(classes, np.int64)
        for index, pool in enumerate(plan.pools):
            table = pool.deployment.table
            if table is None or table.longest_context + 1 >= pool.deployment.context_limit:
                continue
            # The last token is never read: prompt + output may be one more than the longest context.
            longest = table.longest_context + 1
            shorter = (plan.verdicts[:, index] == ELIGIBLE) & (longest < self._limit)
            self._limit[shorter] = longest
            self._pool[shorter] = index

    def require_load(self, load: Load) -> None:
        """Raise for the longest request of the load that is beyond a table; see :meth:`require`."""
        excess = load.prompt_tokens + load.output_tokens - self._limit[load.class_index]
        if excess.size and excess.max() > 0.0:
            i = int(excess.argmax())
            self.require(int(load.class_index[i]), int(load.prompt_tokens[i]), int(load.output_tokens[i]))

    def require(self, class_index: int, prompt_tokens: int, output_tokens: int) -> None:
        """Raise if a request is longer than what was measured.

        Raises
        ------
        InputError
            Naming pool, axis, value and limit.
        """
        limit = self._limit[class_index]
        if prompt_tokens + output_tokens <= limit:
            return
        index = int(self._pool[class_index])
        pool = self._plan.pools[index]
        raise InputError(
            f"pools[{index}].latency.table",
            f"pool {pool.name!r} has no step times for a context of {prompt_tokens + output_tokens - 1} tokens, "
            f"which a request of class {self._plan.scenario.workload[class_index].name!r} "
            f"({prompt_tokens} + {output_tokens}) reaches; its table was measured up to {limit - 1:g}",
            "Measure further, keep such requests away from the pool, or leave latency out for the analytic model.",
        )
