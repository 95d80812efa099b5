"""Request traces of vLLM: runs of which every single request is known, with its times in the engine.

A trace is a folder ``<GPU>/<model>/`` with ``requests.jsonl``, one request per line
(tokens, and when it was queued, gave its first and its last token, in seconds of the
engine's own clock), ``meta.json``, the engine's arguments and, where it was kept, its
KV capacity, and perhaps a series (:mod:`~inferencesim.measurements.engine_series`). It
is played with step times made of the operator profile of the same chip and model, which
is looked for in ``operator_profiles/*/<GPU>/<checkpoint>/`` beside the traces. All are
the formats of LLMServingSim (github:casys-kaist/LLMServingSim).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.documents import read_yaml
from inferencesim.errors import InputError
from inferencesim.measurements.contents import Contents, dig, figure, look_into
from inferencesim.measurements.engine_series import EngineSeries, read_series
from inferencesim.measurements.measurement import (
    MeasuredLoad,
    MeasuredSetup,
    Measurement,
    Metric,
    Readings,
    TokenRange,
    Unsupported,
)
from inferencesim.measurements.names import hardware_id, model_id
from inferencesim.measurements.operators import Link

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SOURCE = "request trace"

#: What all-reduces met in the traces of a chip, where the trace does not record its link: fitted to that very trace,
#: so that its errors are those of a fit. With two RTX PRO 6000, errors stay within 8 % of TPOT and E2E from 12 to
#: 14.5 GB/s; the 64 GB/s of PCIe 5 would be far too fast. For size: another pair of cards, staging in host memory, is
#: reported at 12.5 GB/s for 20 MB (github:sgl-project/sglang#39605).
FITTED_LINKS = {"nvidia-rtx-pro-6000-se": Link(bytes_per_s=12.5e9, latency_s=5e-6)}

_REQUESTS, _META = "requests.jsonl", "meta.json"
_COLUMNS = ("input_toks", "output_toks", "queued_ts", "first_token_ts", "last_token_ts")

#: Levels below a folder on which traces are looked for, and above a trace on which operator profiles are.
_LEVELS = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class RequestTrace(Measurement):
    """One run, request by request.

    Attributes
    ----------
    queued_s : ndarray of float64, shape (requests,)
        When each request came into the engine's queue, rising from 0.
    prompt_tokens, output_tokens : ndarray of int64
        Of each.
    kv_blocks : int or None
        KV blocks that requests could have; None where it was not recorded.
    prefix_cache : bool
        Whether KV blocks outlived their request; where it was not recorded, as vLLM has it by default.
    profile : Path
        The operator profile of chip and model.
    link : Link or None
        Between the chips of a tensor group, as it was found; None if the datasheet's is all that is known.
    series : EngineSeries or None
        The engine's state over time, where it was recorded.
    """

    queued_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    kv_blocks: int | None
    prefix_cache: bool
    profile: Path
    link: Link | None
    series: EngineSeries | None


def read_request_traces(folder: Path) -> list[Readings]:
    """Read all request traces in a folder and up to three levels below it, one readings each.

    Raises
    ------
    InputError
        If a request lacks a number, or the engine's arguments cannot be read.
    """
    patterns = ("*/" * level + _REQUESTS for level in range(_LEVELS + 1))
    places = sorted(path.parent for pattern in patterns for path in folder.glob(pattern))
    return [_readings(place.resolve()) for place in places if (place / _META).is_file()]


def _readings(place: Path) -> Readings:
    read = _read(place)
    if isinstance(read, Unsupported):
        return Readings((), (read,), rows=1)
    return Readings((read,), (), rows=1)


def _read(place: Path) -> RequestTrace | Unsupported:
    (meta,) = look_into(place / _META).documents or ({},)
    arguments = meta.get("engine_kwargs", {})
    gpu, checkpoint = place.parent.name, str(meta.get("model", place.name))
    tensor = int(figure(arguments, "tensor_parallel_size") or 1)
    model, profile = model_id(checkpoint), _profile(place, gpu, checkpoint, tensor)
    hardware = None if profile is None else _hardware(profile)
    reason = _refusal(arguments)
    if profile is None:
        reason = reason or f"no operator profile of this deployment beside it (operator_profiles/*/{gpu}/{checkpoint})"
    elif hardware is None:
        reason = reason or f"no profile of {gpu}"
    elif model is None:
        reason = reason or f"no model {checkpoint}"
    if profile is None or hardware is None or model is None or reason:
        return Unsupported(f"{gpu}/{place.name}", SOURCE, hardware or gpu, model or checkpoint, "vllm", reason)
    requests = look_into(place / _REQUESTS)
    columns = _columns(requests)
    blocks = figure(meta, "kv_cache", "num_gpu_blocks")
    return RequestTrace(
        id=f"{gpu}/{place.name}",
        source=SOURCE,
        reference=str(place),
        setup=MeasuredSetup(
            hardware=hardware,
            model=model,
            engine="vllm",
            engine_version=str(meta.get("vllm_version", "")),
            precision={"weights": "bf16", "activations": "bf16", "kv": "bf16"},
            parallelism={"tensor": tensor},
            batching=_batching(meta, arguments),
            memory_share=figure(meta, "kv_cache", "gpu_memory_utilization"),
        ),
        load=MeasuredLoad(
            "replayed",
            TokenRange.around(float(columns["input_toks"].mean())),
            TokenRange.around(float(columns["output_toks"].mean())),
            requests=columns["queued_ts"].size,
        ),
        observed=_observed(columns),
        queued_s=columns["queued_ts"] - columns["queued_ts"].min(),
        prompt_tokens=columns["input_toks"].astype(np.int64),
        output_tokens=columns["output_toks"].astype(np.int64),
        # vLLM keeps one block, to point padding at.
        kv_blocks=int(blocks) - 1 if blocks else None,
        prefix_cache=bool(meta.get("kv_cache", {}).get("enable_prefix_caching", True)),
        profile=profile,
        link=FITTED_LINKS.get(hardware),
        series=read_series(place, meta, requests.documents),
    )


def _refusal(arguments: Mapping[str, Any]) -> str:
    """Return why a run cannot be played; empty if it can."""
    if (arguments.get("dtype"), arguments.get("kv_cache_dtype")) != ("bfloat16", "auto"):
        return "number formats other than bf16: operator profiles are of bf16"
    if (figure(arguments, "data_parallel_size") or 1) > 1:
        return "data-parallel replicas: the trace does not say which one had a request"
    return ""


def _profile(place: Path, gpu: str, checkpoint: str, tensor: int) -> Path | None:
    """Return the operator profile beside a trace that holds its tensor degree."""
    for root in place.parents[:_LEVELS]:
        for profile in sorted(root.glob(f"operator_profiles/*/{gpu}/{checkpoint}")):
            if (profile / f"tp{tensor}").is_dir():
                return profile
    return None


def _hardware(profile: Path) -> str | None:
    """Return the chip that an operator profile names in full."""
    return hardware_id(str(dig(read_yaml(profile / "meta.yaml", str(profile)), "gpu")))


def _batching(meta: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, int]:
    stated = {
        "max_sequences": figure(arguments, "max_num_seqs"),
        "token_budget": figure(arguments, "max_num_batched_tokens"),
        "block_size": figure(meta, "kv_cache", "block_size"),
    }
    return {name: int(number) for name, number in stated.items() if number is not None}


def _columns(requests: Contents) -> dict[str, NDArray[np.float64]]:
    """Return the numbers of all requests, in the order in which they were queued."""
    if not requests.documents:
        raise InputError(str(requests.path), "holds no request", "Export the run again.")
    rows = []
    for line, request in enumerate(requests.documents, 1):
        numbers = [figure(request, name) for name in _COLUMNS]
        if None in numbers:
            place = f"{requests.path}, request {line}"
            raise InputError(place, f"has no {_COLUMNS[numbers.index(None)]!r} above zero", "Export the run again.")
        rows.append(numbers)
    table = np.array(rows, dtype=np.float64)
    table = table[table[:, _COLUMNS.index("queued_ts")].argsort(kind="stable")]
    return dict(zip(_COLUMNS, table.T, strict=True))


def _observed(columns: Mapping[str, NDArray[np.float64]]) -> dict[Metric, float]:
    """Return the means over all requests; TPOT over those with more than one token."""
    queued, first, last = (columns[name] for name in ("queued_ts", "first_token_ts", "last_token_ts"))
    observed: dict[Metric, float] = {"ttft_s": float((first - queued).mean()), "e2e_s": float((last - queued).mean())}
    further = columns["output_toks"] - 1.0
    if further.any():
        several = further > 0.0
        observed["tpot_s"] = float(((last - first)[several] / further[several]).mean())
    return observed
