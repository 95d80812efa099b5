"""What policies compute of candidates, and how the best is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.jit import compiled

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Floats
    from inferencesim.kernel.views import Candidates

#: A score below this says that the candidate is predicted to break the promise.
INFEASIBLE = -1e6

#: What is added to the score of an outside provider that is to be used only where no pool keeps the promise.
OVERFLOW = -1e5


@compiled
def highest(candidates: Candidates, scores: Floats) -> int:
    """Return the eligible candidate with the highest score, the first of equals."""
    best = -1
    for i in range(scores.size):
        if candidates.eligible[i] and not np.isnan(scores[i]) and (best < 0 or scores[i] > scores[best]):
            best = i
    return best


@compiled
def inside(candidates: Candidates, i: int) -> float:
    """Return the requests inside per replica behind a candidate."""
    load = candidates.load[i]
    return float((load["waiting"] + load["running"]) / candidates.traits[i]["replicas"])
