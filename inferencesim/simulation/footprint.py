"""What one request of each class takes, before anything is simulated: context, KV cache, time alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferencesim.simulation.traits import placement_traits, reference_pools

if TYPE_CHECKING:
    from inferencesim.simulation.plan import Plan
    from inferencesim.simulation.traits import ClassMeans


@dataclass(frozen=True)
class Footprint:
    """A request of mean lengths of a class.

    Attributes
    ----------
    context_tokens : float
        Prompt and output together.
    pool : str or None
        Where it would be answered soonest; None if it may run nowhere.
    kv_bytes : float or None
        KV cache it holds there at its end, on all chips of the replica.
    alone_s : float or None
        Its E2E there without any other request.
    """

    context_tokens: float
    pool: str | None
    kv_bytes: float | None
    alone_s: float | None


def footprints(plan: Plan, means: ClassMeans) -> tuple[Footprint, ...]:
    """Return the footprint of each class of a scenario."""
    pools = reference_pools(plan, placement_traits(plan, means))
    return tuple(_footprint(plan, means, index, int(pool)) for index, pool in enumerate(pools))


def _footprint(plan: Plan, means: ClassMeans, index: int, pool: int) -> Footprint:
    prompt, output = float(means.prompt_tokens[index]), float(means.output_tokens[index])
    if pool < 0:
        return Footprint(prompt + output, None, None, None)
    deployment = plan.deployments[plan.rows[index, pool]]
    per_token = deployment.kv_block_bytes / deployment.memory.block_size
    return Footprint(
        context_tokens=prompt + output,
        pool=plan.pools[pool].name,
        kv_bytes=per_token * (prompt + output),
        alone_s=deployment.alone_s(max(1, round(prompt)), max(1, round(output))),
    )
