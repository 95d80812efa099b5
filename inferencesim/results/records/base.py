"""What records of a summary have in common.

A quantity that does not exist (a percentile of nothing, the attainment of a
class that promises nothing) is null, never zero.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of all records of a summary: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        validate_by_name=True,
        serialize_by_alias=True,
    )


class Window(Record):
    """The measurement window [from, to); statistics are of requests that arrived inside it.

    Attributes
    ----------
    from_s, to_s : float
        The end of the warm-up, and the horizon.
    end_s : float
        When the simulation stopped, work still inside having been drained.
    """

    from_s: float
    to_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Seconds of the window."""
        return self.to_s - self.from_s


class Distribution(Record):
    """Mean and percentiles (linear between order statistics) of a quantity; null without a single value."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
