"""The envelope of a step table: where it was measured, and nowhere else.

A pool whose batches could leave the table is refused before it runs. How long
the sequences get depends on the load, and is checked request by request as it
comes in (:mod:`inferencesim.simulation.envelope`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.errors import InputError

if TYPE_CHECKING:
    from inferencesim.deployment.step_table import StepTable
    from inferencesim.scenario.fleet import Pool


def require_same_deployment(table: StepTable, hardware: str, model: str, pool: Pool, where: str) -> None:
    """Raise unless a pool is what its table was measured on.

    Raises
    ------
    InputError
        At `where`, the pool's path, naming what differs.
    """
    said = {
        "hardware": (hardware, table.hardware),
        "model": (model, table.model),
        "precision.weights": (pool.precision.weights, table.weights),
        "parallelism.tensor": (pool.parallelism.tensor, table.tensor),
        "parallelism.pipeline": (pool.parallelism.pipeline, 1),
    }
    for key, (asked, measured) in said.items():
        if asked != measured:
            raise InputError(
                f"{where}.latency.table",
                f"was measured with {key} {measured}, and the pool has {asked}",
                f"Give the table of this deployment, or leave latency out for the analytic model, or change {key}.",
            )


def require_batching(table: StepTable, pool: Pool, where: str) -> None:
    """Raise if the pool may form batches larger than the measured ones.

    Raises
    ------
    InputError
        Naming the axis, the value and its limit.
    """
    batching = pool.batching
    asked = {
        "max_sequences": (batching.max_sequences, table.most_sequences, "sequences"),
        "token_budget": (batching.token_budget, table.most_tokens, "tokens"),
    }
    for key, (value, limit, axis) in asked.items():
        if value > limit:
            raise InputError(
                f"{where}.batching.{key}",
                f"{value} is outside the pool's step table, which was measured up to {limit:g} {axis} per step",
                f"Set it to at most {int(limit)}, or measure further.",
            )
