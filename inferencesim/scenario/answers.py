"""How good answers are, and what is done about bad ones and about none."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from inferencesim.scenario.base import Fraction, Money, Part, PositiveTime, Time
from inferencesim.scenario.lengths import ShareLengths
from inferencesim.scenario.unions import refuse

#: What may have become of a request that is sent again.
Unanswered = Literal["rejected", "timed_out", "failed"]


class Curve(Part):
    """The share of good answers by difficulty d: ``ceiling / (1 + exp((d − ability) / slope))``."""

    ability: Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]
    slope: Annotated[float, Field(gt=0, le=10)] = 0.1
    ceiling: Fraction = 0.98


class Threshold(Part):
    """Begin with the first model up to a predicted difficulty, with the last one above it.

    What is predicted is the difficulty with a normal error of standard deviation `sigma`.
    """

    threshold: Fraction
    sigma: Annotated[float, Field(ge=0, le=10)] = 0.0


class Person(Part):
    """Somebody who answers well what no model did, at a `price` each, in so much `time`."""

    price: Money
    time: Time


class Answers(Part):
    """How hard the work is, how well models do it, and what follows a bad answer.

    Attributes
    ----------
    difficulty : distribution of shares
        Of each request; beyond 0 and 1 it is cut.
    start : "any", "first" or Threshold
        Which of the class's models is asked first: any that the router chooses, the first on the class's list (a
        cascade), or first or last by predicted difficulty.
    noticed : float
        Share of bad answers that somebody notices; the others are taken for good.
    check : float
        Seconds it takes to notice.
    retries : int
        Further requests to the same model, each with luck of its own.
    escalate : bool
        Whether the next on the class's list of models is asked then, with retries of its own.
    person : Person or None
        Who has the last word; None is nobody: the task fails.
    curves : dict of Curve
        By model; for others those shipped with the package, which are assumptions, hold.
    """

    difficulty: ShareLengths
    start: Literal["any", "first"] | Threshold = "any"
    noticed: Fraction = 1.0
    check: Time = 0.0
    retries: Annotated[int, Field(ge=0, le=1000)] = 0
    escalate: bool = True
    person: Person | None = None
    curves: dict[str, Curve] = Field(default_factory=dict)


class Retry(Part):
    """A request that was not answered is sent again, up to `attempts` times, after `back_off`, doubled each time.

    Of those ``failed`` the replica crashed; they are placed anew, like any request.
    """

    attempts: Annotated[int, Field(ge=1, le=100)]
    back_off: PositiveTime = 1.0
    after: Annotated[tuple[Unanswered, ...], Field(min_length=1)] = ("rejected", "timed_out", "failed")

    @model_validator(mode="after")
    def _once_each(self) -> Retry:
        if len(set(self.after)) < len(self.after):
            refuse("each of after once")
        return self
