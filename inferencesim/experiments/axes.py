"""What a sweep varies: ``path=2,4,8``, or a range as in ``path=10/s..50/s:5``."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferencesim.documents import parse_yaml
from inferencesim.errors import InputError
from inferencesim.results.sweep import SweptAxis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_QUANTITY = re.compile(rf"\s*(\$?)\s*({_NUMBER})\s*([^\d\s:,.][^:,]*?)?\s*")
_RANGE = re.compile(r"(?P<low>.+?)\.\.(?P<high>[^:]+)(?::(?P<count>\d+))?(?::(?P<spread>\w+))?")

#: Digits to which the values of a range are rounded: more than anybody measures, fewer than arithmetic errs by.
_DIGITS = 12


class Quantity(NamedTuple):
    """A number as a user writes it: ``$2.5/h`` is ``("$", 2.5, "/h")``."""

    before: str
    number: float
    after: str

    @property
    def unit(self) -> str:
        """What stands around the number."""
        return self.before + self.after

    def at(self, number: float) -> Any:
        """Return another number in the same unit, as YAML reads it."""
        rounded = float(f"{number:.{_DIGITS}g}")
        plain: float = int(rounded) if rounded.is_integer() and abs(rounded) < 10**_DIGITS else rounded
        return f"{self.before}{plain}{self.after}" if self.unit else plain


@dataclass(frozen=True)
class Values:
    """Values of a parameter, one by one."""

    values: tuple[Any, ...]

    def grid(self, where: str) -> tuple[Any, ...]:  # noqa: ARG002 - a range says where it lacks a count
        """Return all values."""
        return self.values

    def at(self, share: float) -> Any:
        """Return the value at a share from 0 (the first) to below 1 (the last)."""
        return self.values[int(share * len(self.values))]


@dataclass(frozen=True)
class Range:
    """Values of a parameter from one number to another.

    Attributes
    ----------
    low, high : Quantity
        Of one unit.
    count : int or None
        How many a grid takes.
    logarithmic : bool
        Whether neighbours have equal ratios, not equal differences.
    whole : bool
        Whether both ends are whole numbers without a unit, and so is everything between.
    """

    low: Quantity
    high: Quantity
    count: int | None
    logarithmic: bool
    whole: bool

    def grid(self, where: str) -> tuple[Any, ...]:
        """Return `count` values, ends included.

        Raises
        ------
        InputError
            At `where`, if the range does not say how many.
        """
        if self.count is None:
            raise InputError(where, "does not say how many values a grid takes", "Write low..high:count.")
        shares = np.linspace(0.0, 1.0, self.count)
        return tuple(dict.fromkeys(self._value(share) for share in shares))

    def at(self, share: float) -> Any:
        """Return the value at a share from 0 (the low end) to below 1."""
        if self.whole and not self.logarithmic:
            # Every whole number gets an equal part of the way.
            return self.low.at(math.floor(self.low.number + share * (self.high.number - self.low.number + 1.0)))
        return self._value(share)

    def _value(self, share: float) -> Any:
        low, high = self.low.number, self.high.number
        number = low * (high / low) ** share if self.logarithmic else low + share * (high - low)
        return self.low.at(round(number) if self.whole else number)


@dataclass(frozen=True)
class Axis:
    """A parameter by its path, and what it is set to."""

    path: str
    settings: Values | Range

    @property
    def described(self) -> SweptAxis:
        """What results say of it."""
        logarithmic = isinstance(self.settings, Range) and self.settings.logarithmic
        return SweptAxis(path=self.path, unit=self._unit(), logarithmic=logarithmic)

    def shown(self, value: Any) -> Any:
        """Return a value of this axis as results hold it: a number in the axis's unit, or as it is."""
        quantity = read_quantity(value) if self._unit() is not None and isinstance(value, str) else None
        return value if quantity is None else quantity.number

    def _unit(self) -> str | None:
        if isinstance(self.settings, Range):
            return self.settings.low.unit
        units = {None if (found := read_quantity(value)) is None else found.unit for value in self.settings.values}
        return units.pop() if len(units) == 1 else None


def read_quantity(value: object) -> Quantity | None:
    """Return a number with its unit, None for whatever is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    match = _QUANTITY.fullmatch(str(value))
    return None if match is None else Quantity(match[1], float(match[2]), (match[3] or "").strip())


def parse_vary(options: Sequence[str]) -> dict[str, str]:
    """Return the texts of ``--vary`` options by path.

    Raises
    ------
    InputError
        For one that is not of the form path=values, a path that is given twice, or none at all.
    """
    texts: dict[str, str] = {}
    for option in options:
        path, separator, text = option.partition("=")
        if not separator or not path or not text.strip():
            raise InputError(
                f"--vary {option}",
                "is not of the form path=values",
                "Write for instance --vary pools.premium.replicas=2,4,8 or path=10/s..50/s:5.",
            )
        if path in texts:
            raise InputError(f"--vary {path}", "is given twice", "List all its values in one.")
        texts[path] = text
    return texts


def axes_of(vary: Mapping[str, str | Iterable[Any]]) -> tuple[Axis, ...]:
    """Return the axes of a mapping: by path, either values or the text that ``--vary`` takes behind the sign.

    Raises
    ------
    InputError
        For a text that cannot be read, or where there is nothing to vary.
    """
    axes = []
    for path, given in vary.items():
        where = _place(path)
        settings = parse_settings(given, where) if isinstance(given, str) else Values(tuple(given))
        if isinstance(settings, Values) and not settings.values:
            raise InputError(where, "names no value", "Give at least one.")
        axes.append(Axis(path, settings))
    if not axes:
        raise InputError("--vary", "is missing", "Say what to vary, as in --vary pools.premium.replicas=2,4,8.")
    return tuple(axes)


def parse_settings(text: str, where: str) -> Values | Range:
    """Return the values that a text lists, or the range it describes.

    Raises
    ------
    InputError
        At `where`.
    """
    match = _RANGE.fullmatch(text.strip())
    low, high = (read_quantity(match["low"]), read_quantity(match["high"])) if match else (None, None)
    if match is None or low is None or high is None:
        listed = parse_yaml(f"[{text}]", where)
        if not isinstance(listed, list) or not listed:
            raise InputError(where, f"{text!r} is no list of values", "Write them with commas between.")
        return Values(tuple(listed))
    if not low.unit:  # 10..50/s
        low = high._replace(number=low.number)
    if low.unit != high.unit:
        raise InputError(where, f"goes from {low.unit!r} to {high.unit!r}", "Write both ends in one unit.")
    spread = match["spread"] or "linear"
    if spread not in {"linear", "log"}:
        raise InputError(where, f"unknown spread {spread!r}", "Write linear or log.")
    count = None if match["count"] is None else int(match["count"])
    if count is not None and count < 2:
        raise InputError(where, f"{count} values make no range", "Ask for two at least.")
    if not low.number < high.number:
        raise InputError(where, f"does not go upwards: {text}", "Write the lower end first.")
    if spread == "log" and low.number <= 0.0:
        raise InputError(where, "a logarithmic range begins above zero", "Raise its lower end.")
    whole = not low.unit and all(re.fullmatch(r"\s*[-+]?\d+\s*", match[end]) for end in ("low", "high"))
    return Range(low, high, count, spread == "log", whole)


def grid(axes: Sequence[Axis]) -> list[tuple[Any, ...]]:
    """Return all combinations of values, the last axis fastest.

    Raises
    ------
    InputError
        If a range does not say how many values it stands for.
    """
    return list(itertools.product(*(axis.settings.grid(_place(axis.path)) for axis in axes)))


def latin_hypercube(axes: Sequence[Axis], samples: int, seed: int) -> list[tuple[Any, ...]]:
    """Return combinations that spread evenly over every axis: each of `samples` equal parts of it is met once."""
    from scipy.stats import qmc

    shares = qmc.LatinHypercube(len(axes), rng=np.random.default_rng(seed)).random(samples)
    found = [tuple(axis.settings.at(share) for axis, share in zip(axes, row, strict=True)) for row in shares]
    # Where axes have few values, a combination may be drawn twice.
    return [each for place, each in enumerate(found) if each not in found[:place]]


def _place(path: str) -> str:
    return f"--vary {path}"
