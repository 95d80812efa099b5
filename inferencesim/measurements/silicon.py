"""Closed-loop TTFT and TPOT of NVIDIA systems: the columns of ai-dynamo/aiconfigurator's silicon table.

Load
    ``_cN`` in the id is the concurrency; without it, ``batch_size`` × ``attention_dp_size``. Lengths are uniform
    in [0.8, 1.0] × nominal and a run has ten requests per client, as the public nightly benchmark has it
    (``--random-range-ratio 0.8 --num-prompts $((CONC * 10))``); how its servers were set up is in
    :mod:`~inferencesim.measurements.nightly`. SGLang's rows with ``epnone`` in the id come from
    another benchmark, of fixed lengths: SGLang prefills first, so its clients run in lock-step, and TTFT is
    that of a whole wave of prompts, linear in concurrency (played so, TTFT of H100 and Qwen3-32B agrees to 6 %,
    with drawn lengths it is 80 % too low). vLLM's and TensorRT-LLM's rows of that benchmark show no lock-step.

Twins
    Rows with the same system, lengths, TTFT and TPOT are one measurement, compared to 0.01 ms: some copies ("gap
    analysis") were rounded to that. The row whose id agrees with its columns speaks for all.

Chips
    1. ``tpN`` in the id is the number of chips, ``epN`` the number of expert groups.
    2. Without them, ``tp_size`` × ``attention_dp_size`` = ``moe_tp_size`` × ``moe_ep_size`` with both factors
       equal to t > 1 means t chips and t expert groups: the same run is listed once as ``tp8_ep8`` and once with 64.
    3. Otherwise ``tp_size`` is the number of chips, or ``attention_dp_size`` where that is one.
    4. More than eight is more than a node has; on an NVL72 rack it may be a whole deployment. Neither can be told.
    5. ``attention_dp_size`` above one says that attention is data-parallel over all chips.
    6. A concurrency that is k > 1 times ``batch_size`` × ``attention_dp_size`` was spread over k: data-parallel
       attention where k is the number of chips and the experts are spread, otherwise k replicas.

Disaggregation
    Rows of mode ``disagg`` are a source of their own: one side prefills, the other decodes
    (:mod:`~inferencesim.measurements.disaggregated`). How the nightly set up those servers is not read.

Speculation
    The dump mixes in runs with multi-token prediction, unmarked: same DeepSeek, chips, concurrency and version, but
    0.45 to 0.85 of the TPOT and a longer TTFT. The nightly's configuration (SemiAnalysisAI/InferenceX,
    ``nvidia-master.yaml``) ran the same images with ``spec-decoding: mtp``; rows of its own export are without. So a
    DeepSeek row of such an image (`_MAY_SPECULATE`) is taken only if the export has it too.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from inferencesim.measurements.cells import Row, read_rows
from inferencesim.measurements.disaggregated import WORKER_COLUMNS, decoding_at_once, workers
from inferencesim.measurements.measurement import (
    MeasuredLoad,
    MeasuredSetup,
    Measurement,
    Metric,
    NotReproducibleError,
    Readings,
    TokenRange,
    Unsupported,
)
from inferencesim.measurements.names import engine_id, hardware_id, model_id
from inferencesim.measurements.nightly import REQUESTS_PER_CLIENT, Run, settings
from inferencesim.measurements.precision import served_precision

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    "id",
    "backend",
    "backend_version",
    "model_path",
    "system",
    "precision",
    "mode",
    "isl",
    "osl",
    "gemm_quant_mode",
    "moe_quant_mode",
    "batch_size",
    "tp_size",
    "pp_size",
    "attention_dp_size",
    "moe_tp_size",
    "moe_ep_size",
    *WORKER_COLUMNS,
    "silicon_ttft_ms",
    "silicon_tpot_ms",
    "source",
)
SHORTEST_SHARE = 0.8
CHIPS_OF_A_NODE = 8

#: What the quantisation columns call a number format; block-wise scales do not change its width.
_FORMATS = {
    "nvfp4": "fp4",
    "fp8": "fp8",
    "fp8_block": "fp8",
    "fp8_static": "fp8",
    "int8_wo": "int8",
    "int4_wo": "int4",
    "bf16": "bf16",
    "float16": "bf16",
}
_NIGHTLY = "InferenceX nightly"
#: Backend, system, precision and version of the images that also ran with multi-token prediction.
_MAY_SPECULATE = (
    ("trtllm", "b200_sxm", "fp4", "1.2.0rc6.post3"),
    ("trtllm", "b200_sxm", "fp8", "1.2.0rc6.post3"),
    ("trtllm", "b200_sxm", "fp4", "1.1.0rc2.post2"),
    ("trtllm", "b200_sxm", "fp8", "1.1.0rc2.post2"),
    ("trtllm", "h200_sxm", "fp8", "1.1.0rc2.post2"),
    ("sglang", "b200_sxm", "fp8", "0.5.8"),
    ("sglang", "b200_sxm", "fp8", "0.5.9"),
)
_NAME_ENDS = {"nvfp4": "fp4", "fp4": "fp4", "fp8": "fp8"}


def read_silicon(path: Path) -> Readings:
    """Read the table, each measurement once.

    Raises
    ------
    InputError
        If a column is missing, or a cell is not the number it should be.
    """
    rows = read_rows(path, COLUMNS)
    repeated: dict[tuple[str | int | float | None, ...], list[Row]] = {}
    for row in rows:
        figures = _rounded(row, "silicon_ttft_ms"), _rounded(row, "silicon_tpot_ms")
        repeated.setdefault((row.text("system"), row.whole("isl"), row.whole("osl"), *figures), []).append(row)
    readings = [_one(twins) for twins in repeated.values()]
    return Readings(
        tuple(one for one in readings if isinstance(one, Measurement)),
        tuple(one for one in readings if isinstance(one, Unsupported)),
        len(rows),
    )


def _rounded(row: Row, column: str) -> float:
    """Return a time in ms to two decimals; 0 where there is none."""
    return round(row.number(column) or 0.0, 2)


def _one(twins: list[Row]) -> Measurement | Unsupported:
    """Return what the most trustworthy of equal rows says, preferring one that can be reproduced."""
    ranked = sorted(twins, key=_agreement, reverse=True)
    names = {row.line: row.text("id") for row in twins}
    exported = any(row.text("source") == _NIGHTLY for row in twins)
    readings = [_read(row, tuple(name for line, name in names.items() if line != row.line), exported) for row in ranked]
    return next((reading for reading in readings if isinstance(reading, Measurement)), readings[0])


def _agreement(row: Row) -> int:
    """Rank how far the id and the columns tell the same: 2 they do, 1 the id says nothing, 0 they do not."""
    tensor, expert = _named(row, "tp"), _named(row, "ep")
    if tensor is None:
        return 1
    same = tensor == (row.whole("tp_size") or 1) and expert in (None, row.whole("moe_ep_size"))
    return 2 if same else 0


def _read(row: Row, twins: tuple[str, ...], exported: bool) -> Measurement | Unsupported:
    """Return one row as a measurement, or why that is impossible; `exported` if the nightly's own export has it."""
    try:
        if not exported and _may_speculate(row):
            msg = "speculative decoding cannot be ruled out"
            raise NotReproducibleError(msg)
        setup, load = _setup(row), _load(row)
        if setup.prefill is None and not _another_benchmark(row):
            setup, load = _as_the_nightly(setup, load)
        observed = _observed(row)
    except NotReproducibleError as problem:
        hardware = hardware_id(row.text("system")) or row.text("system")
        model = model_id(row.text("model_path")) or row.text("model_path")
        engine = engine_id(row.text("backend"))
        return Unsupported(row.text("id"), _source(row), hardware, model, engine, str(problem), twins)
    reference = f"ai-dynamo/aiconfigurator, {row.text('source')}"
    return Measurement(row.text("id"), _source(row), reference, setup, load, observed, twins=twins)


def _source(row: Row) -> str:
    return "silicon" if row.text("mode") == "agg" else "silicon, disaggregated"


def _may_speculate(row: Row) -> bool:
    run = tuple(row.text(name) for name in ("backend", "system", "precision", "backend_version"))
    return row.text("mode") == "agg" and "deepseek" in row.text("model_path").lower() and run in _MAY_SPECULATE


def _observed(row: Row) -> dict[Metric, float]:
    ttft_ms, tpot_ms = row.number("silicon_ttft_ms"), row.number("silicon_tpot_ms")
    if not ttft_ms or not tpot_ms:
        msg = "no TTFT or no TPOT"
        raise NotReproducibleError(msg)
    return {"ttft_s": ttft_ms / 1e3, "tpot_s": tpot_ms / 1e3}


def _setup(row: Row) -> MeasuredSetup:
    hardware, model = hardware_id(row.text("system")), model_id(row.text("model_path"))
    engine = engine_id(row.text("backend"))
    if hardware is None:
        msg = f"no profile of {row.text('system')}"
        raise NotReproducibleError(msg)
    if model is None:
        msg = f"no model {row.text('model_path')}"
        raise NotReproducibleError(msg)
    prefill = None
    if row.text("mode") == "agg":
        parallelism, replicas = _spread(row, hardware)
    else:
        prefill, decode = workers(row, "prefill", model), workers(row, "decode", model)
        parallelism, replicas = decode.parallelism, decode.replicas
    return MeasuredSetup(
        hardware,
        model,
        engine,
        row.text("backend_version"),
        _precision(row, model, hardware, engine),
        parallelism,
        replicas,
        prefill=prefill,
    )


def _load(row: Row) -> MeasuredLoad:
    concurrency = _concurrency(row)
    prompt, output = row.whole("isl"), row.whole("osl")
    if not prompt or not output:
        msg = "lengths not stated"
        raise NotReproducibleError(msg)
    shortest = 1.0 if _another_benchmark(row) and row.text("backend") == "sglang" else SHORTEST_SHARE
    return MeasuredLoad(
        "closed",
        TokenRange(round(shortest * prompt), prompt),
        TokenRange(round(shortest * output), output),
        concurrency,
        REQUESTS_PER_CLIENT * concurrency,
    )


def _another_benchmark(row: Row) -> bool:
    return "epnone" in row.text("id")


def _as_the_nightly(setup: MeasuredSetup, load: MeasuredLoad) -> tuple[MeasuredSetup, MeasuredLoad]:
    """Add to setup and load what the launch script of the nightly states."""
    stated = settings(
        Run(
            setup.model,
            setup.engine,
            setup.hardware,
            setup.precision.get("expert_weights", setup.precision["weights"]),
            load.prompt_tokens.high,
            load.output_tokens.high,
            setup.parallelism["tensor"],
            load.concurrency,
        )
    )
    known = replace(
        setup, batching=stated.batching, memory_share=stated.memory_share, admission_steps=stated.admission_steps
    )
    return known, replace(load, requests=stated.requests_per_client * load.concurrency)


def _concurrency(row: Row) -> int:
    named = _named(row, "c")
    concurrency = named or (row.whole("batch_size") or 0) * max(row.whole("attention_dp_size") or 1, 1)
    concurrency = concurrency or decoding_at_once(row)
    if not concurrency:
        msg = "concurrency not stated"
        raise NotReproducibleError(msg)
    return concurrency


def _spread(row: Row, hardware: str) -> tuple[dict[str, int], int]:
    """Return the parallelism of one replica, and how many replicas there are."""
    tensor, attention_data = row.whole("tp_size") or 1, row.whole("attention_dp_size") or 1
    moe_tensor, moe_expert = row.whole("moe_tp_size") or 1, row.whole("moe_ep_size") or 1
    # Both degrees of the experts were set to the number of chips, and multiplied.
    squared = moe_tensor == moe_expert > 1 and tensor * attention_data == moe_tensor * moe_expert
    chips = _named(row, "tp")
    rack = "nvl" in hardware
    if chips is None:
        if squared and rack:
            msg = "chips ambiguous: the degrees of the experts may have been multiplied"
            raise NotReproducibleError(msg)
        chips = moe_tensor if squared else (tensor if tensor > 1 else attention_data)
    if chips > CHIPS_OF_A_NODE:
        msg = "chips ambiguous: tp_size may count a whole deployment" if rack else "more chips than a node has"
        raise NotReproducibleError(msg)
    expert = _named(row, "ep") or (chips if squared else min(moe_expert, chips))
    shares = _concurrency(row) / ((row.whole("batch_size") or _concurrency(row)) * attention_data)
    replicas = 1
    if shares == chips and moe_tensor * moe_expert > 1:
        attention_data = chips
    elif shares > 1 and shares == int(shares):
        replicas = int(shares)
    parallelism = {
        "tensor": chips,
        "pipeline": row.whole("pp_size") or 1,
        "expert": expert,
        "attention_data": chips if attention_data > 1 else 1,
    }
    return parallelism, replicas


def _precision(row: Row, model: str, hardware: str, engine: str) -> dict[str, str]:
    dense = _format(row, "gemm_quant_mode")
    formats = served_precision(dense, model, hardware, engine)
    experts = _format(row, "moe_quant_mode")
    if experts != dense and "expert_weights" not in formats:
        apart = served_precision(experts, model, hardware, engine)
        formats |= {"expert_weights": experts}
        formats |= {"expert_activations": apart.get("expert_activations", apart["activations"])}
    return formats


def _format(row: Row, column: str) -> str:
    """Return the format a column names; where it is blank, that of the checkpoint."""
    named = row.text(column) or row.text("precision")
    if not named:
        return _NAME_ENDS.get(row.text("model_path").lower().rsplit("-", 1)[-1], "bf16")
    if named not in _FORMATS:
        msg = f"unknown number format {named}"
        raise NotReproducibleError(msg)
    return _FORMATS[named]


def _named(row: Row, letters: str) -> int | None:
    """Return the number after `letters` in the id (``_c64_``, ``_tp8_``); ``epnone`` names none."""
    found = re.search(rf"_{letters}(\d+)(?=_|$)", row.text("id"))
    return int(found[1]) if found else None
