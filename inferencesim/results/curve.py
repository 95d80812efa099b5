"""A policy's cost curve as a small file: what was seen at each load, and by how much it may change.

The file is read by people in a pull request and by the check that plays it again. People read means and intervals;
the check reads the values of each replication, so that old and new can be compared pair by pair.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

#: Significant digits of a value: what is left out is a thousand times less than any limit that makes sense.
VALUE_DIGITS = 6

#: Confidence of the interval that is shown beside each mean.
CONFIDENCE = 0.95

_HEAD = """\
# The cost curve of a policy, as `inferencesim curves record` wrote it. `inferencesim curves check` plays it again on
# the same random numbers, `inferencesim curves update` records it anew. Limits and false_alarm_rate are yours to edit.
"""


class Limit(Record):
    """By how much a mean may change before anybody cares.

    Attributes
    ----------
    size : float
        A share of the recorded mean where `relative`; else in the unit of the figure.
    relative : bool
    """

    size: Annotated[float, Field(gt=0.0)]
    relative: bool

    def around(self, mean: float) -> float:
        """Return the limit of a change of `mean`, in its unit."""
        return self.size * abs(mean) if self.relative else self.size

    def __str__(self) -> str:
        return f"{100.0 * self.size:.6g} {'%' if self.relative else 'points'}"


def _limit(written: Any) -> Any:
    """Read ``1 %`` of the mean, or ``0.5 points`` of a share."""
    if not isinstance(written, str):
        return written
    found = re.fullmatch(r"\s*([0-9.eE+-]+)\s*(%|points?)\s*", written)
    if found is None:
        msg = f"{written!r} is no limit: write '1 %' of the mean, or '0.5 points' of a share"
        raise ValueError(msg)
    return {"size": float(found[1]) / 100.0, "relative": found[2] == "%"}


WrittenLimit = Annotated[Limit, BeforeValidator(_limit), PlainSerializer(str)]


def usual_limit(metric: str) -> Limit:
    """Return half a point for what is a share of promises, and one per cent for all else."""
    if metric.endswith("slo_attainment"):
        return Limit(size=0.005, relative=False)
    return Limit(size=0.01, relative=True)


class Figure(Record):
    """One figure at one load.

    Attributes
    ----------
    mean : float
        Over all replications.
    interval : tuple of float
        Of the mean, with 95 %.
    values : tuple of float
        Of each replication, in their order.
    """

    mean: float
    interval: tuple[float, float]
    values: Annotated[tuple[float, ...], Field(min_length=2)]

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Return what the values of all replications say; mean and interval with the digits that its width supports."""
        from inferencesim.statistics.intervals import mean_interval

        kept = [rounded(value) for value in values]
        interval = mean_interval(kept, CONFIDENCE)
        ends = (interval.estimate, interval.low, interval.high)
        if interval.half_width > 1e-9 * abs(interval.estimate):
            decimals = 1 - math.floor(math.log10(interval.half_width))
            mean, low, high = (round(end, decimals) for end in ends)
        else:
            mean, low, high = (rounded(end) for end in ends)
        return cls(mean=mean, interval=(low, high), values=tuple(kept))

    @model_validator(mode="after")
    def _mean_is_of_the_values(self) -> Figure:
        # Rounded to two digits of the half-width, the mean lies where that of the values does.
        exact = math.fsum(self.values) / len(self.values)
        room = max(0.1 * (self.interval[1] - self.interval[0]), 1e-5 * abs(exact))
        if abs(self.mean - exact) > room:
            msg = f"mean is {self.mean:g} and that of values {exact:.6g}: one was changed by hand; record it again"
            raise ValueError(msg)
        return self


class Point(Record):
    """What was seen at one load.

    Attributes
    ----------
    load : float
        The factor on all arrival rates of the scenario.
    states : dict of str to int
        Replications by their verdicts.
    figures : dict of str to Figure
        By the path of the metric.
    """

    load: Annotated[float, Field(gt=0.0)]
    states: dict[str, int]
    figures: dict[str, Figure]


class RecordedCurve(Record):
    """What a policy costs and keeps, against load.

    Attributes
    ----------
    schema_version : int
        ``schema`` in the file.
    scenario : str
        The name of a shipped one, or a file, in the file of a curve relative to its folder.
    variant : str or None
    overrides : tuple of str
        As of ``--set``.
    placement, balancing : str
        The policies.
    seed : int
        Of the first replication; the others' follow from it, see :func:`inferencesim.experiments.trials.seed_of`.
    replications : int
        Of each load.
    false_alarm_rate : float
        Chance at most that a check of the whole curve fails although no mean has changed by more than its limit.
    limits : dict of str to Limit
        By the path of the metric.
    version : str
        Of the package that recorded it.
    scenario_digest : str
        Of what the scenario says, see :func:`inferencesim.experiments.curve_digests.scenario_digest`.
    physics : dict of str to str
        By pool and provider, the digest of hardware, model, calibration and prices behind its names.
    points : tuple of Point
        In the order of loads.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    scenario: str
    variant: str | None = None
    overrides: tuple[str, ...] = ()
    placement: str
    balancing: str
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    replications: Annotated[int, Field(ge=2)]
    false_alarm_rate: Annotated[float, Field(gt=0.0, lt=1.0)]
    limits: Annotated[dict[str, WrittenLimit], Field(min_length=1)]
    version: str
    scenario_digest: str
    physics: dict[str, str]
    points: Annotated[tuple[Point, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _points_are_complete(self) -> RecordedCurve:
        loads = [point.load for point in self.points]
        if sorted(set(loads)) != loads:
            msg = f"the loads of points must increase, and these are {', '.join(f'{load:g}' for load in loads)}"
            raise ValueError(msg)
        for point in self.points:
            for metric in self.limits:
                figure = point.figures.get(metric)
                if figure is None:
                    msg = f"the point at load {point.load:g} has no {metric}: record the curve again"
                    raise ValueError(msg)
                if len(figure.values) != self.replications:
                    msg = (
                        f"{metric} at load {point.load:g} has {len(figure.values)} values and there are "
                        f"{self.replications} replications: record the curve again"
                    )
                    raise ValueError(msg)
        return self

    @property
    def loads(self) -> tuple[float, ...]:
        """The factors on all arrival rates."""
        return tuple(point.load for point in self.points)

    @property
    def frame(self) -> pd.DataFrame:
        """One row per load and figure: mean and interval."""
        import pandas as pd

        rows = [
            (point.load, metric, figure.mean, *figure.interval)
            for point in self.points
            for metric, figure in point.figures.items()
        ]
        return pd.DataFrame(rows, columns=["load", "metric", "mean", "low", "high"])


def rounded(value: float) -> float:
    """Return a value as a file holds it."""
    return float(f"{value:.{VALUE_DIGITS}g}")


def curve_text(curve: RecordedCurve) -> str:
    """Return the text of a curve's file: the same for the same content, one line per list."""
    import yaml

    tree = curve.model_dump(mode="json", by_alias=True)
    return _HEAD + yaml.safe_dump(tree, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def read_curve(path: Path) -> RecordedCurve:
    """Read the file of a curve.

    Raises
    ------
    InputError
        For a file that is missing, no YAML, of another schema, or that contradicts itself.
    """
    from inferencesim.documents import read_document

    return read_document(path, RecordedCurve, str(path))
