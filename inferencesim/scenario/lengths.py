"""Distributions of lengths: of tokens, of times, and of rates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import Field, Tag, model_validator

from inferencesim.scenario.base import Fraction, Part, Rate, Time, Tokens
from inferencesim.scenario.unions import named, refuse, tag

#: Standard normal quantile at 95 %, which turns median and p95 of a lognormal into its sigma.
_Z95 = 1.6448536269514722

Quantity = TypeVar("Quantity")


class Fixed(Part, Generic[Quantity]):
    """Always the same length; a bare number means this."""

    distribution: Literal["fixed"]
    value: Quantity


class Uniform(Part, Generic[Quantity]):
    """Every length from `low` to `high`, both included, equally likely."""

    distribution: Literal["uniform"]
    low: Quantity
    high: Quantity

    @model_validator(mode="after")
    def _ordered(self) -> Uniform[Quantity]:
        if self.high < self.low:  # type: ignore[operator]  # quantities are floats
            refuse(f"high ({self.high}) is below low ({self.low})")
        return self


class Lognormal(Part, Generic[Quantity]):
    """Lognormal by its median and one of `p95`, `sigma` (of the logarithm) or `mean`.

    `min` and `max` clip: what would lie beyond is drawn *at* the bound, as a
    context limit does to real prompts. `median`, `p95` and `mean` describe the
    distribution before clipping.
    """

    distribution: Literal["lognormal"]
    median: Quantity
    p95: Quantity | None = None
    sigma: Annotated[float, Field(ge=0, le=10)] | None = None
    mean: Quantity | None = None
    min: Quantity | None = None
    max: Quantity | None = None

    @model_validator(mode="after")
    def _one_spread(self) -> Lognormal[Quantity]:
        given = [name for name in ("p95", "sigma", "mean") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            refuse(f"a lognormal needs its median and exactly one of p95, sigma or mean; found {found}")
        for name in ("p95", "mean"):
            value = getattr(self, name)
            if value is not None and value < self.median:
                refuse(f"{name} ({value}) of a lognormal cannot be below its median ({self.median})")
        if not self.median > 0:  # type: ignore[operator]  # quantities are floats
            refuse("the median of a lognormal must be above zero")
        if self.min is not None and self.max is not None and self.max < self.min:  # type: ignore[operator]
            refuse(f"max ({self.max}) is below min ({self.min})")
        return self

    @property
    def log_sigma(self) -> float:
        """Standard deviation of the logarithm: ``ln(p95/median)/z95``, or ``√(2 ln(mean/median))``."""
        median: Any = self.median
        if self.sigma is not None:
            return self.sigma
        if self.p95 is not None:
            p95: Any = self.p95
            return math.log(p95 / median) / _Z95
        mean: Any = self.mean
        return math.sqrt(2.0 * math.log(mean / median))


class Histogram(Part, Generic[Quantity]):
    """Weighted `values`, or bins between `edges` within which every length is equally likely."""

    distribution: Literal["histogram"]
    edges: tuple[Quantity, ...] | None = None
    values: tuple[Quantity, ...] | None = None
    weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]

    @model_validator(mode="after")
    def _matching(self) -> Histogram[Quantity]:
        if (self.edges is None) == (self.values is None):
            refuse("a histogram needs either edges or values, and weights")
        if sum(self.weights) <= 0:
            refuse("the weights of a histogram must not all be zero")
        if self.values is not None and len(self.values) != len(self.weights):
            refuse(f"{len(self.values)} values need as many weights; found {len(self.weights)}")
        if self.edges is not None:
            if len(self.edges) != len(self.weights) + 1:
                refuse(f"{len(self.weights)} weights need {len(self.weights) + 1} edges; found {len(self.edges)}")
            if any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)):  # type: ignore[operator]
                refuse("the edges of a histogram must increase")
        return self


class RegisteredDistribution(Part):
    """A length distribution of another package, by its registered id, with its own parameters."""

    distribution: str
    parameters: dict[str, Any]


def greatest(lengths: Lengths) -> float:
    """Return what no draw exceeds: infinity where there is no bound, or where another package knows it."""
    if isinstance(lengths, Fixed):
        return lengths.value
    if isinstance(lengths, Uniform):
        return lengths.high
    if isinstance(lengths, Histogram):
        upper = lengths.values or (lengths.edges or ())[1:]
        return max(value for value, weight in zip(upper, lengths.weights, strict=True) if weight > 0)
    bound = lengths.max if isinstance(lengths, Lognormal) else None
    return math.inf if bound is None else bound


_DISTRIBUTIONS = ("fixed", "uniform", "lognormal", "histogram")

Lengths: TypeAlias = Fixed[float] | Uniform[float] | Lognormal[float] | Histogram[float] | RegisteredDistribution
"""Any length distribution, of tokens (in tokens), of times (in seconds) or of rates (per second)."""

if TYPE_CHECKING:
    TokenLengths: TypeAlias = Lengths
    ShareLengths: TypeAlias = Lengths
    TimeLengths: TypeAlias = Lengths
    RateLengths: TypeAlias = Lengths
else:

    def _lengths(quantity: Any) -> Any:
        """Return the union of distributions whose numbers are of one quantity."""
        union = (
            Annotated[Fixed[quantity], Tag("[fixed]")]
            | Annotated[Uniform[quantity], Tag("[uniform]")]
            | Annotated[Lognormal[quantity], Tag("[lognormal]")]
            | Annotated[Histogram[quantity], Tag("[histogram]")]
            | Annotated[RegisteredDistribution, Tag("[registered]")]
        )
        chooser = tag("distribution", _DISTRIBUTIONS)
        return Annotated[union, chooser, named("distribution", _DISTRIBUTIONS, bare=union | float | str)]

    TokenLengths = _lengths(Tokens)
    ShareLengths = _lengths(Fraction)
    TimeLengths = _lengths(Time)
    RateLengths = _lengths(Rate)
