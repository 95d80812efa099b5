"""A number with its unit, its source, and how far it can be trusted."""

from __future__ import annotations

import functools
from typing import ClassVar

from pydantic import Field, PrivateAttr
from pydantic_core import PydanticCustomError

from inferencesim.errors import InputError
from inferencesim.scenario.base import Part, Provenance
from inferencesim.units import to_si


class Quantity(Part):
    """A number of one dimension; a subclass says which, and what range makes sense.

    In YAML::

        bandwidth:
          value: 3350
          unit: GB/s
          source: "NVIDIA H100 datasheet"
          provenance: vendor

    Attributes
    ----------
    value : float
        The number, in `unit`.
    unit : str
        A unit of the subclass's dimension, as :mod:`inferencesim.units` reads it.
    source : str
        Where the number was read, or why it was assumed.
    provenance : {"vendor", "measured", "secondary", "fitted", "assumption"}
        What kind of source that is.
    note : str or None
        What a reader must know before trusting it.

    Raises
    ------
    InputError
        Through the loaders: a unit of another dimension, or a number out of range.
    """

    dimension: ClassVar[str]
    #: Words accepted as a unit of a plain number, which read better than an empty unit.
    words: ClassVar[frozenset[str]] = frozenset()
    #: Lowest SI number that makes sense, itself excluded when `positive`.
    positive: ClassVar[bool] = True
    highest: ClassVar[float] = float("inf")

    value: float = Field(strict=True, allow_inf_nan=False)
    unit: str = Field(strict=True)
    source: str = Field(min_length=1)
    provenance: Provenance
    note: str | None = None
    _si: float = PrivateAttr(default=0.0)

    def model_post_init(self, context: object, /) -> None:  # noqa: ARG002 - the name is pydantic's
        """Convert once, so that a wrong unit is an error where it is written."""
        number = self.value * self.si_per_unit
        if number < 0 or (self.positive and number == 0) or number > self.highest:
            bound = "above 0" if self.positive else "at least 0"
            limit = f" and at most {self.highest:g}" if self.highest < float("inf") else ""
            msg = "{shown} is out of range: it must be {bound}{limit}"
            context_words = {"shown": f"{self.value:g} {self.unit}", "bound": bound, "limit": limit}
            kind = "range"
            raise PydanticCustomError(kind, msg, context_words)
        self._si = number

    @property
    def si(self) -> float:
        """The number in the SI unit of its dimension (:data:`inferencesim.units.SI_UNITS`)."""
        return self._si

    @property
    def si_per_unit(self) -> float:
        """How many of that SI unit one `unit` is."""
        return 1.0 if self.unit in self.words else _factor(self.unit, self.dimension)


@functools.lru_cache(maxsize=256)
def _factor(unit: str, dimension: str) -> float:
    """Return how many SI units of `dimension` one `unit` is."""
    try:
        return to_si("1 " + unit.replace("$", "USD"), dimension, "")
    except InputError as problem:
        text = {"unit": unit, "kind": dimension.replace("_", " "), "remedy": problem.remedy or ""}
        kind, msg = "unit", "'{unit}' is not a unit of {kind}. {remedy}"
        raise PydanticCustomError(kind, msg, text) from None


class Information(Quantity):
    """Bytes."""

    dimension = "information"


class Reserve(Quantity):
    """Bytes kept for something, none included."""

    dimension = "information"
    positive = False


class Bandwidth(Quantity):
    """Bytes per second."""

    dimension = "bandwidth"


class ComputeRate(Quantity):
    """Dense floating-point (or integer) operations per second."""

    dimension = "compute"


class Power(Quantity):
    """Watts."""

    dimension = "power"
    positive = False


class Duration(Quantity):
    """Seconds."""

    dimension = "time"
    positive = False


class Count(Quantity):
    """A number of things."""

    dimension = "count"
    words = frozenset({"chips", "rows"})


class Share(Quantity):
    """A share of something, above 0 and at most 1."""

    dimension = "fraction"
    words = frozenset({"fraction"})
    highest = 1.0


class Ratio(Quantity):
    """A ratio that may exceed 1, such as a power usage effectiveness."""

    dimension = "fraction"
    words = frozenset({"ratio"})


class PricePerTime(Quantity):
    """US dollars per second."""

    dimension = "price_per_time"
    positive = False


class PricePerEnergy(Quantity):
    """US dollars per joule."""

    dimension = "price_per_energy"
    positive = False


class CarbonIntensity(Quantity):
    """Grams of CO2 equivalent per joule."""

    dimension = "carbon_intensity"
    positive = False
