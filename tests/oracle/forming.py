"""The six batching policies, as their documentation has them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Formation:
    """What the next step is made of; see :class:`inferencesim.kernel.forming.Formation`."""

    together: bool
    prefill_tokens: float
    admit: float
    whole: bool = False
    wake_s: float = math.inf


def form(policy, parameters, replica, now):
    """Ask a policy what a replica does next."""
    pool = replica.pool
    decoding, running, waiting = len(replica.decoding()), len(replica.running), len(replica.waiting)
    beside = max(0, pool.token_budget - decoding * (1 + pool.drafts))
    if policy in ("chunked_prefill", "continuous"):
        return Formation(True, beside, math.inf, whole=policy == "continuous")
    if policy == "decode_first":
        prefilling = any(call.phase == "prefill" for call in replica.running)
        if not prefilling and decoding > parameters.get("refill", 0.0) * pool.max_sequences:
            return Formation(False, 0, 0)
    if policy == "static":
        # The whole batch is prefilled in one step, however long.
        return Formation(False, math.inf, 0 if running else math.inf)
    if policy == "dynamic":
        if running:
            return Formation(False, math.inf, 0)
        size = min(int(parameters.get("size", 8)), pool.max_sequences)
        if 0 < waiting < size:
            wake_s = now + (parameters.get("timeout", 0.05) - (now - replica.waiting.first().queued_s))
            if wake_s > now:
                return Formation(False, 0, 0, wake_s=wake_s)
        return Formation(False, math.inf, size)
    return Formation(False, pool.token_budget, math.inf)
