"""The orders in which requests wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.batching.policy import order

if TYPE_CHECKING:
    from inferencesim.kernel.forming import Queued
    from inferencesim.kernel.tables import Floats


@order("fcfs", "first come, first served")
def fcfs(request: Queued, parameters: Floats) -> float:
    """Rank all alike: equals keep the order in which they came."""
    return 0.0


@order("priority", "by the priority of the class, lower first")
def priority(request: Queued, parameters: Floats) -> float:
    """Rank by class."""
    return float(request.priority)


@order(
    "sjf",
    "shortest predicted job first: predicted output tokens, and the prompt's at `prompt_weight` each",
    prompt_weight=0.0,
)
def sjf(request: Queued, parameters: Floats) -> float:
    """Rank by predicted length; how good the prediction is, each class says (`length_prediction`)."""
    return float(request.predicted_output_tokens + parameters[0] * request.prompt_tokens)


@order("edf", "earliest deadline first: of the first token where it is promised, else of the last")
def edf(request: Queued, parameters: Floats) -> float:
    """Rank by the moment of the promise; who has none comes last."""
    return request.deadline_s


@order("vtc", "fair between tenants: the one that was given the fewest tokens first (outputs count twice)", fair=True)
def vtc(request: Queued, parameters: Floats) -> float:
    """Rank all alike within a tenant; see Sheng et al., Fairness in Serving Large Language Models (OSDI 2024)."""
    return 0.0
