"""How good a model's answers are, where no class says it: figures of the package, all of them assumptions."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from inferencesim.documents import read_document
from inferencesim.hardware.quantity import Quantity, Share
from inferencesim.scenario.answers import Curve
from inferencesim.scenario.base import Part

if TYPE_CHECKING:
    from inferencesim.models.spec import ModelSpec

_FILE = Path(__file__).parent / "quality.yaml"


class Difficulty(Quantity):
    """A difference on the scale of difficulty, from 0 to 1."""

    dimension: ClassVar[str] = "fraction"
    words: ClassVar[frozenset[str]] = frozenset({"difficulty"})
    positive: ClassVar[bool] = False


class Quality(Part):
    """The figures; the file says what each is."""

    schema_version: Literal[1] = Field(alias="schema")
    ability_of_1b: Difficulty
    ability_per_tenfold: Difficulty
    slope: Difficulty
    ceiling: Share
    losses: dict[str, Difficulty]


@functools.cache
def shipped_quality() -> Quality:
    """Return the figures, read once."""
    return read_document(_FILE, Quality, str(_FILE))


def default_curve(model: ModelSpec) -> Curve:
    """Return the curve of a model in full precision, from the geometric mean of its total and active parameters.

    That mean stands for a mixture of experts as for a dense model of so many
    parameters, a rule of thumb.
    """
    quality = shipped_quality()
    billions = math.sqrt(model.total_parameters * model.active_parameters) / 1e9
    ability = quality.ability_of_1b.si + quality.ability_per_tenfold.si * math.log10(billions)
    return Curve(ability=ability, slope=quality.slope.si, ceiling=quality.ceiling.si)


def in_precision(curve: Curve, weights: str) -> Curve:
    """Return the curve of the same model with its weights in another format."""
    return curve.model_copy(update={"ability": curve.ability - shipped_quality().losses[weights].si})
