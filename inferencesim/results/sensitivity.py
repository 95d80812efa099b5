"""Which parameter moves which figure: one row per parameter, each made better and worse by the same share."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from inferencesim.results.records.base import Record
from inferencesim.results.records.summary import Verdict
from inferencesim.scenario.base import Provenance

#: Figures of the fleet that are followed, by their place in the summary.
Metric = Literal[
    "tpot_s.mean",
    "ttft_s.mean",
    "e2e_s.p99",
    "output_tokens_per_s",
    "cost_per_completed_request_usd",
    "energy_per_completed_request_j",
]
METRICS: tuple[Metric, ...] = get_args(Metric)

#: Why a parameter was not moved that way: it is at its limit, or the pools cannot run so.
Obstacle = Literal["at its limit", "does not fit"]


class Number(Record):
    """A parameter as one pool has it, a calibration in place.

    Attributes
    ----------
    pool : str
    value : float
        In `unit`.
    unit : str
    provenance : str
        What kind of source it is from; ``fitted`` in a calibration.
    """

    pool: str
    value: float
    unit: str
    provenance: Provenance


class Move(Record):
    """What a parameter does when it is made better, or worse.

    Attributes
    ----------
    obstacle : str or None
        Why this was not simulated.
    least_share : float
        By how much it moved in the pool where it moved least: less than was asked for where it met its limit.
    state : str or None
        The verdict's; null where nothing was simulated.
    changes : dict of Metric to float or None
        (moved − base) / base; null where a figure does not exist.
    """

    obstacle: Obstacle | None = None
    least_share: float
    state: str | None = None
    changes: dict[Metric, float | None] = Field(default_factory=dict)


class Sensitivity(Record):
    """One parameter.

    Attributes
    ----------
    parameter : str
        Its path in a profile, ``host.…`` in an engine's calibration.
    numbers : tuple of Number
        One per pool in which it matters.
    better, worse : Move
        Better is towards faster, larger and less power.
    """

    parameter: str
    numbers: tuple[Number, ...]
    better: Move
    worse: Move

    @property
    def effect(self) -> float:
        """Largest change of any figure, as a share; infinite where the pools cannot run with it made worse."""
        if "does not fit" in (self.better.obstacle, self.worse.obstacle):
            return float("inf")
        changes = (*self.better.changes.values(), *self.worse.changes.values())
        return max((abs(change) for change in changes if change is not None), default=0.0)


class SensitivityReport(Record):
    """All parameters of a scenario's pools, those that move a figure most first.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    name, question, scenario_digest : str
        The scenario's.
    seed : int
        Of all simulations.
    share : float
        By how much each parameter is made better and worse.
    pools : tuple of str
        Those whose parameters are moved, all of them at once.
    verdict : Verdict
        Of the scenario as it is.
    base : dict of Metric to float or None
        Its figures.
    rows : tuple of Sensitivity
    without_effect : tuple of str
        Parameters that change neither a step, nor the KV cache, nor the power of these pools, and were not simulated.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    question: str
    scenario_digest: str
    seed: int
    share: float
    pools: tuple[str, ...]
    verdict: Verdict
    base: dict[Metric, float | None]
    rows: tuple[Sensitivity, ...]
    without_effect: tuple[str, ...]
