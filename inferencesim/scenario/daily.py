"""Parts of the day, which is the same every day and begins at time 0."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from inferencesim.scenario.base import Part, Time
from inferencesim.scenario.unions import refuse

#: Windows are of a day, which begins at time 0.
DAY_S = 86400.0


class DailyWindow(Part):
    """A part of each day, [from, to), on over midnight where `to` is the earlier; the day begins at time 0."""

    from_s: Annotated[Time, Field(alias="from", lt=DAY_S)]
    to_s: Annotated[Time, Field(alias="to", le=DAY_S)]

    @model_validator(mode="after")
    def _is_one(self) -> DailyWindow:
        if self.from_s == self.to_s:
            refuse("from and to are the same")
        return self

    @property
    def spans(self) -> tuple[tuple[float, float], ...]:
        """Its parts between one midnight and the next, [from, to) in seconds into the day."""
        if self.from_s < self.to_s:
            return ((self.from_s, self.to_s),)
        return ((0.0, self.to_s), (self.from_s, DAY_S))

    def overlaps(self, other: DailyWindow) -> bool:
        """Tell whether some moment of the day is in both."""
        return any(
            began < other_ended and other_began < ended
            for began, ended in self.spans
            for other_began, other_ended in other.spans
        )
