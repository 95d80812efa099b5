"""A cost curve played again: what has changed, and whether by more than chance and more than anybody would mind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    import pandas as pd

#: ``equal``: every replication; ``within the limit``: the whole interval is; ``no change shown``: a part of it is;
#: ``missing``: a replication lacks the figure; the others: the whole interval is beyond the limit.
CurveConclusion = Literal[
    "equal", "within the limit", "no change shown", "better", "worse", "higher", "lower", "missing"
]

#: Those that fail a check.
CHANGED: frozenset[CurveConclusion] = frozenset(("better", "worse", "higher", "lower", "missing"))


class CurveDifference(Record):
    """One figure at one load, old and new.

    Attributes
    ----------
    load : float
    metric : str
    old, new : float or None
        Means; null where a replication lacks the figure.
    difference, low, high : float or None
        new − old, and its interval, corrected for the number of comparisons.
    limit : float or None
        Of the change, in the unit of the figure.
    conclusion : str
    """

    load: float
    metric: str
    old: float | None
    new: float | None
    difference: float | None
    low: float | None
    high: float | None
    limit: float | None
    conclusion: CurveConclusion

    @property
    def changed(self) -> bool:
        """Whether the check fails because of it."""
        return self.conclusion in CHANGED


class CurveCheck(Record):
    """A curve, old and new.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    curve : str
        Its file.
    scenario, placement, balancing : str
    old : str
        What the new values are compared with: ``the recording``, or another version.
    paired : bool
        Whether both met the same random numbers.
    replications : int
        Of each load, old and new.
    false_alarm_rate : float
        Of the whole check.
    comparisons : int
        For which each interval is corrected.
    notes : tuple of str
        What a reader must know, in sentences.
    difference_rows : tuple of CurveDifference
        ``differences`` in JSON.
    passed : bool
        Whether nothing has changed by more than its limit.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    curve: str
    scenario: str
    placement: str
    balancing: str
    old: str
    paired: bool
    replications: int
    false_alarm_rate: float
    comparisons: int
    notes: tuple[str, ...]
    difference_rows: Annotated[tuple[CurveDifference, ...], Field(alias="differences")]
    passed: bool

    @property
    def differences(self) -> pd.DataFrame:
        """One row per load and figure."""
        import pandas as pd

        columns = list(CurveDifference.model_fields)
        return pd.DataFrame([each.model_dump() for each in self.difference_rows], columns=columns)

    @property
    def changed(self) -> tuple[CurveDifference, ...]:
        """What has changed by more than its limit."""
        return tuple(each for each in self.difference_rows if each.changed)
