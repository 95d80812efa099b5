"""Step tables: measured step times of one deployment, as a YAML file.

The file says what was measured, and holds four parts and a constant, all in
milliseconds for the whole model on all chips of a replica (the sum they make
is in :mod:`inferencesim.deployment.interpolation`)::

    schema: 1
    hardware: nvidia-rtx-4090
    model: llama-3.1-8b
    engine: vllm 0.19.0
    weights: bf16
    tensor: 1
    source: "github:casys-kaist/LLMServingSim, operator profiles of 2026-08-17"
    constant: 0.0                              # what every step takes, whatever is in it
    tokens: {at: [1, 64, 2048], ms: […]}       # layers without attention: by the tokens of the step
    sequences: {at: [1, 256], ms: […]}         # LM head and sampler: by the sequences that sample a token
    decode:                                    # attention of decoding sequences:
      batch: [1, 32, 256]                      #   a row each
      context: [16, 1024, 16384]               #   a column each: mean context, the new token included
      ms: [[…], […], […]]
    prefill:                                   # attention of one prefill chunk:
      chunk: [16, 512, 2048]                   #   a row each
      before: [0, 4096, 16384]                 #   a column each: tokens of the sequence done before
      ms: [[…], […], […]]

Where only whole steps were measured, put them into ``decode`` and ``prefill`` and
leave the others at zero. Times must not fall along an axis: more work takes no
less time, and a table that says otherwise holds noise that wants smoothing.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from inferencesim.deployment.interpolation import HEADER
from inferencesim.documents import read_document
from inferencesim.scenario.fleet import PrecisionName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_S_PER_MS = 1e-3
_SHOWN_DIGITS = 6

Position = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Axis = Annotated[tuple[Position, ...], Field(min_length=2)]


class _Part(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)


def _require_rising(axis: Sequence[float], name: str) -> None:
    for before, after in pairwise(axis):
        if after <= before:
            msg = f"{name} must rise: {after:g} stands after {before:g}"
            raise ValueError(msg)


def _require_monotone(values: Sequence[float], axis: Sequence[float], name: str) -> None:
    for (before, after), at in zip(pairwise(values), axis[1:], strict=True):
        if after < before:
            msg = f"ms falls from {before:g} to {after:g} at {name} {at:g}: more work cannot take less time"
            raise ValueError(msg)


def _require_shape(rows: Sequence[Sequence[float]], heights: Axis, widths: Axis, names: tuple[str, str]) -> None:
    _require_rising(heights, names[0])
    _require_rising(widths, names[1])
    if len(rows) != len(heights) or any(len(row) != len(widths) for row in rows):
        msg = f"ms needs {len(heights)} rows, one per {names[0]}, of {len(widths)} values, one per {names[1]}"
        raise ValueError(msg)
    for row in rows:
        _require_monotone(row, widths, names[1])
    for column in zip(*rows, strict=True):
        _require_monotone(column, heights, names[0])


class Curve(_Part):
    """Times over one axis."""

    at: Axis
    ms: tuple[Milliseconds, ...]

    @model_validator(mode="after")
    def _is_a_function(self) -> Curve:
        _require_rising(self.at, "at")
        if len(self.ms) != len(self.at):
            msg = f"ms needs {len(self.at)} values, one per point of at"
            raise ValueError(msg)
        _require_monotone(self.ms, self.at, "at")
        return self


class DecodeSurface(_Part):
    """Times by decoding sequences (rows) and their mean context (columns)."""

    batch: Axis
    context: Axis
    ms: tuple[tuple[Milliseconds, ...], ...]

    @model_validator(mode="after")
    def _is_a_function(self) -> DecodeSurface:
        _require_shape(self.ms, self.batch, self.context, ("batch", "context"))
        return self


class PrefillSurface(_Part):
    """Times by chunk length (rows) and tokens of the sequence before it (columns)."""

    chunk: Axis
    before: Axis
    ms: tuple[tuple[Milliseconds, ...], ...]

    @model_validator(mode="after")
    def _is_a_function(self) -> PrefillSurface:
        _require_shape(self.ms, self.chunk, self.before, ("chunk", "before"))
        return self


class StepTable(_Part):
    """A step table: what was measured, and how long its steps took."""

    schema_version: Literal[1] = Field(alias="schema")
    hardware: str
    model: str
    engine: str
    weights: PrecisionName = "bf16"
    tensor: Annotated[int, Field(ge=1)] = 1
    source: Annotated[str, Field(min_length=1)]
    constant: Milliseconds = 0.0
    tokens: Curve
    sequences: Curve
    decode: DecodeSurface
    prefill: PrefillSurface

    @property
    def longest_context(self) -> float:
        """The longest sequence both attentions were measured for, in tokens."""
        return min(self.decode.context[-1], self.prefill.before[-1])

    @property
    def most_sequences(self) -> float:
        """The largest batch all parts were measured for."""
        return min(self.decode.batch[-1], self.sequences.at[-1])

    @property
    def most_tokens(self) -> float:
        """The most tokens per step, and per chunk, that were measured."""
        return min(self.tokens.at[-1], self.prefill.chunk[-1])

    def flat(self) -> NDArray[np.float64]:
        """Return the numbers as the kernel reads them, in seconds."""
        parts = [
            _flat_curve(self.tokens),
            _flat_curve(self.sequences),
            _flat_surface(self.decode.batch, self.decode.context, self.decode.ms),
            _flat_surface(self.prefill.chunk, self.prefill.before, self.prefill.ms),
        ]
        places = HEADER + np.cumsum([0] + [part.size for part in parts[:-1]])
        return np.concatenate([places, [self.constant * _S_PER_MS], *parts])


def _flat_curve(curve: Curve) -> NDArray[np.float64]:
    return np.concatenate([[len(curve.at)], curve.at, np.array(curve.ms) * _S_PER_MS])


def _flat_surface(rows: Axis, columns: Axis, ms: tuple[tuple[float, ...], ...]) -> NDArray[np.float64]:
    return np.concatenate([[len(rows), len(columns)], rows, columns, np.ravel(ms) * _S_PER_MS])


def load_step_table(path: str, where: str) -> StepTable:
    """Read a step table.

    Raises
    ------
    InputError
        If there is no such file, or at the key that is wrong.
    """
    return read_document(Path(path), StepTable, where)


def write_step_table(table: StepTable, path: Path) -> None:
    """Write a step table, one line per axis and per row."""
    lines = []
    for name, value in table.model_dump(by_alias=True).items():
        if not isinstance(value, dict):
            lines.append(yaml.safe_dump({name: value}, allow_unicode=True, width=10_000).rstrip())
            continue
        lines.append(f"{name}:")
        for key, numbers in value.items():
            if isinstance(numbers[0], tuple):
                lines.append(f"  {key}:")
                lines.extend(f"    - {_shown(row)}" for row in numbers)
            else:
                lines.append(f"  {key}: {_shown(numbers)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _shown(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{number:.{_SHOWN_DIGITS}g}' for number in numbers)}]"
