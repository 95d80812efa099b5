"""Groups of measurements, and splits for cross-validation.

Runs of one system under equal conditions, on another day or under another name
of the model, are never on both sides of a split: the second is no news.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.measurements.measurement import Measurement

GroupBy = Literal["hardware-model", "hardware-engine", "model", "hardware"]

#: Models with the same layers under another name; a fit that saw one has seen the other.
_SAME_LAYERS = {"deepseek-v3": "deepseek-r1"}


@dataclass(frozen=True)
class Split:
    """One division of the measurements: fit on the first, judge on the second.

    Attributes
    ----------
    name : str
        The group that was left out, or the number of the fold.
    training, held_out : tuple of Measurement
        In their original order.
    """

    name: str
    training: tuple[Measurement, ...]
    held_out: tuple[Measurement, ...]


def group_of(measurement: Measurement, by: GroupBy = "hardware-model") -> tuple[str, ...]:
    """Return the group of a measurement; models with the same layers are one."""
    setup = measurement.setup
    parts = {
        "hardware": setup.hardware,
        "engine": setup.engine,
        "model": _layers(setup.model),
    }
    return tuple(parts[name] for name in by.split("-"))


def split_groups(measurements: Sequence[Measurement], by: GroupBy = "hardware-model") -> list[Split]:
    """Return one split per group, that group held out; sorted by group."""
    groups = [group_of(one, by) for one in measurements]
    return [_split(" ".join(group), measurements, [own == group for own in groups]) for group in sorted(set(groups))]


def split_rows(measurements: Sequence[Measurement], folds: int, seed: int = 0) -> list[Split]:
    """Return `folds` random splits; equal conditions fall into the same fold."""
    clusters = _conditions(measurements)
    order = np.random.default_rng(seed).permutation(max(clusters, default=-1) + 1)
    return [
        _split(str(fold + 1), measurements, [order[cluster] % folds == fold for cluster in clusters])
        for fold in range(folds)
    ]


def _split(name: str, measurements: Sequence[Measurement], held: Sequence[bool]) -> Split:
    pairs = list(zip(measurements, held, strict=True))
    return Split(name, tuple(one for one, out in pairs if not out), tuple(one for one, out in pairs if out))


def _conditions(measurements: Sequence[Measurement]) -> list[int]:
    """Return a number per measurement, equal where setup and load are; the engine's version does not count."""
    numbers: dict[tuple[object, ...], int] = {}
    keys = []
    for one in measurements:
        setup = one.setup
        degrees = *sorted(setup.precision.items()), *sorted(setup.parallelism.items()), setup.replicas
        keys.append((setup.hardware, _layers(setup.model), setup.engine, degrees, one.load))
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _layers(model: str) -> str:
    return _SAME_LAYERS.get(model, model)
