"""Step tables from operator profiles: kernels of one layer timed alone, added up to whole steps.

A profile is a folder per model with ``meta.yaml`` (engine and date) and, per tensor
degree, ``tp1/``, ``tp2/`` …, each with times in microseconds on one chip:

``dense.csv``
    layer, tokens, time_us: matrices, norms and activations.
``attention.csv``
    prefill_chunk, kv_prefill, n_decode, kv_decode, time_us: one chunk after
    `kv_prefill` tokens, beside `n_decode` sequences of `kv_decode` tokens.
``per_sequence.csv``
    layer, sequences, time_us: LM head and sampler.
``moe.csv``
    tokens, activated_experts, time_us, of models with experts.

This is the format of LLMServingSim's profiler (github:casys-kaist/LLMServingSim).
A step is ``layers · (dense + attention) + embedding + final norm + head``; with
tensor parallelism, which such profiles time without its communication, plus an
all-reduce after the embedding and two per layer. A profile holds no time of the host
between kernels: engines that launch whole steps as a graph hide nearly all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from inferencesim.deployment.step_table import StepTable
from inferencesim.deployment.step_time import distinct_experts
from inferencesim.documents import read_yaml, validated
from inferencesim.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.models.spec import ModelSpec

_MS_PER_US = 1e-3
_MS_PER_S = 1e3

#: Rows of dense.csv that a step runs once; all others it runs once per layer, but for the two norms of a layer.
_ONCE = ("embedding", "final_layernorm")
_TWICE_PER_LAYER = ("layernorm",)

#: Told where a folder is no profile.
_A_PROFILE = "Name the folder of one chip and model, with meta.yaml and tp1/, tp2/ … in it."

#: Activations travel in sixteen bits.
_ACTIVATION_BYTES = 2.0


@dataclass(frozen=True)
class Link:
    """What an all-reduce between the chips of a tensor group meets.

    Attributes
    ----------
    bytes_per_s : float
        Bandwidth of one chip, each way, as collectives reach it.
    latency_s : float
        Of one message.
    """

    bytes_per_s: float
    latency_s: float

    @classmethod
    def of(cls, hardware: HardwareProfile) -> Link:
        """Return the scale-up link of a hardware profile."""
        return cls(hardware.scale_up.bandwidth.si, hardware.scale_up.latency.si)

    def all_reduce_s(self, chips: int, payload: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the time of one ring all-reduce of `payload` bytes, started along a tree."""
        if chips == 1:
            return np.zeros_like(payload)
        ring = 2.0 * (chips - 1) / chips * payload / self.bytes_per_s
        return ring + 2.0 * math.ceil(math.log2(chips)) * self.latency_s


def read_operators(folder: Path, hardware: str, model: ModelSpec, tensor: int, link: Link) -> StepTable:
    """Build a step table from an operator profile.

    Parameters
    ----------
    folder : Path
        The profile of one chip and model: where its ``meta.yaml`` is.
    hardware : str
        Id of the chip's hardware profile.
    model : ModelSpec
        The model; its layers and width make steps of the operators.
    tensor : int
        Chips of the tensor group.
    link : Link
        Between them.

    Returns
    -------
    StepTable
        Measurement noise that makes more work take less time is smoothed by
        isotonic regression (least squares among monotone functions).

    Raises
    ------
    InputError
        If there is no such profile, the tensor degree was not profiled, a file or column is missing, or what is in
        one makes no table.
    """
    if not folder.is_dir():
        raise InputError(str(folder), "there is no such folder", _A_PROFILE)
    if not (folder / "meta.yaml").is_file():
        raise InputError(str(folder), "is no operator profile: there is no file 'meta.yaml' in it", _A_PROFILE)
    meta = read_yaml(folder / "meta.yaml", str(folder))
    if not isinstance(meta, dict):
        raise InputError(str(folder / "meta.yaml"), "is not a mapping of keys to values")
    place = folder / f"tp{tensor}"
    if not place.is_dir():
        degrees = ", ".join(sorted(each.name[2:] for each in folder.glob("tp*"))) or "none"
        raise InputError(str(folder), f"tensor degree {tensor} was not profiled", f"Profiled: {degrees}.")
    tokens, tokens_ms = _by_tokens(place, model, tensor, link)
    sequences = _read(place / "per_sequence.csv", ("layer", "sequences", "time_us"))
    by_sequences = sequences.groupby("sequences")["time_us"].sum()
    attention = _read(place / "attention.csv", ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"))
    decode = attention[(attention["prefill_chunk"] == 0) & (attention["n_decode"] > 0)]
    prefill = attention[(attention["n_decode"] == 0) & (attention["prefill_chunk"] > 0)]
    batch, context, decode_ms = _surface(decode, "n_decode", "kv_decode", model.layers)
    chunk, before, prefill_ms = _surface(prefill, "prefill_chunk", "kv_prefill", model.layers)
    return validated(
        {
            "schema": 1,
            "hardware": hardware,
            "model": model.id,
            "engine": f"vllm {meta.get('vllm_version', '')}".strip(),
            "weights": "bf16",
            "tensor": tensor,
            "source": f"operator profile of {meta.get('model')} on {meta.get('gpu')}, {meta.get('profiled_at')}",
            "tokens": {"at": tokens, "ms": _rising(tokens_ms)},
            "sequences": {
                "at": by_sequences.index.to_numpy(dtype=np.float64),
                "ms": _rising(by_sequences.to_numpy() * _MS_PER_US),
            },
            "decode": {"batch": batch, "context": context, "ms": decode_ms},
            "prefill": {"chunk": chunk, "before": before, "ms": prefill_ms},
        },
        StepTable,
        str(place),
    )


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file of a profile, and require its columns."""
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(str(path), "there is no such file", "A profile has one.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as problem:
        raise InputError(str(path), f"is not a CSV table ({problem})") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise InputError(str(path), f"has no column {missing[0]!r}", f"Its columns: {', '.join(frame.columns)}.")
    for name in columns:
        if name != "layer" and not pd.api.types.is_numeric_dtype(frame[name]):
            raise InputError(str(path), f"column {name!r} holds more than numbers", "Profile again, or mend the file.")
    repeated = frame.duplicated([name for name in columns if name != "time_us"])
    if repeated.any():
        line = int(repeated.to_numpy().argmax()) + 2
        raise InputError(f"{path}, line {line}", "times again what a line before has", "Leave one of them.")
    return frame


def _by_tokens(
    place: Path, model: ModelSpec, tensor: int, link: Link
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the tokens of a step, and the milliseconds of all layers without attention."""
    dense = _read(place / "dense.csv", ("layer", "tokens", "time_us"))
    operators = dense.pivot(index="tokens", columns="layer", values="time_us").dropna()
    times = {str(name): 1.0 if name in _ONCE else float(model.layers) for name in operators.columns}
    for name in _TWICE_PER_LAYER:
        if name in times:
            times[name] *= 2.0
    tokens = operators.index.to_numpy(dtype=np.float64)
    ms = sum((operators[name].to_numpy() * count for name, count in times.items()), np.zeros(tokens.size)) * _MS_PER_US
    if model.moe is not None:
        experts = _experts_us(place / "moe.csv", model.moe.experts, model.moe.active, tokens)
        ms = ms + model.moe.layers * experts * _MS_PER_US
    payload = tokens * model.hidden * _ACTIVATION_BYTES
    return tokens, ms + (2.0 * model.layers + 1.0) * link.all_reduce_s(tensor, payload) * _MS_PER_S


def _experts_us(path: Path, experts: int, active: int, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the microseconds of one layer's experts, at the number of experts a batch is expected to touch."""
    rows = _read(path, ("tokens", "activated_experts", "time_us"))
    measured, times = [], []
    for count, of_count in rows.groupby("tokens"):
        touched = distinct_experts(float(experts), float(active), float(str(count)))
        measured.append(float(str(count)))
        times.append(np.interp(touched, of_count["activated_experts"], of_count["time_us"]))
    return np.asarray(np.interp(tokens, measured, times))


def _surface(rows: pd.DataFrame, row: str, column: str, layers: int) -> tuple[Any, Any, Any]:
    """Return positions of rows and columns, and milliseconds of all layers: what is measured throughout."""
    grid = rows.pivot(index=row, columns=column, values="time_us")
    while grid.isna().any(axis=None):
        # Finer points were profiled for some combinations only: leave out the sparsest row or column.
        by_row, by_column = grid.isna().mean(axis=1), grid.isna().mean(axis=0)
        if by_row.max() >= by_column.max():
            grid = grid.drop(index=by_row.idxmax())
        else:
            grid = grid.drop(columns=by_column.idxmax())
    # Smoothed along one axis, then along the other: the second pass keeps the order that the first one made.
    ms = np.apply_along_axis(_rising, 1, grid.to_numpy() * layers * _MS_PER_US)
    return grid.index.to_numpy(float), grid.columns.to_numpy(float), np.apply_along_axis(_rising, 0, ms)


def _rising(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the non-decreasing values nearest to the measured ones."""
    return np.asarray(isotonic_regression(values).x)
