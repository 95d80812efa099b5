"""Published throughput, latency and power figures of many kinds of hardware, one figure per row.

Rows that differ only in `metric` are figures of one run and become one
measurement. The columns are written by hand from the sources, in few words:
:mod:`inferencesim.measurements.published_words` reads them.

What a figure counts:

* per chip: times the number of chips it is the total;
* "decode phase only", "decode rate" and the like: tokens per second of a batch
  whose prefill is not counted. Batch ÷ rate is the TPOT;
* a run of ``tg`` tokens without a prompt, or at a context depth, is such a decode too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from inferencesim.measurements.cells import Row, read_rows
from inferencesim.measurements.measurement import (
    MeasuredLoad,
    MeasuredSetup,
    Measurement,
    Metric,
    Readings,
    Unsupported,
)
from inferencesim.measurements.names import engine_id, hardware_id, model_id
from inferencesim.measurements.published_words import (
    parse_lengths,
    parse_load,
    parse_parallelism,
    parse_precision,
    parse_requests,
)

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    "id",
    "source",
    "date",
    "hardware",
    "chips",
    "framework",
    "model",
    "precision",
    "parallelism",
    "workload",
    "load",
    "metric",
    "value",
    "notes",
)
#: Columns in which figures of one run agree; notes tell runs with and without speculation apart.
_RUN = tuple(name for name in COLUMNS if name not in ("id", "date", "metric", "value", "notes"))
_POWER = "power_w"

_METRICS: dict[str, tuple[Metric, float]] = {
    "ttft_ms": ("ttft_s", 1e-3),
    "tpot_ms": ("tpot_s", 1e-3),
    "e2e_ms": ("e2e_s", 1e-3),
    "batch_makespan_s": ("makespan_s", 1.0),
    "output_tok_s_total": ("output_tokens_per_s", 1.0),
    "output_tok_s_per_user": ("output_tokens_per_s_per_user", 1.0),
    "prefill_tok_s": ("prefill_tokens_per_s", 1.0),
}
_PER_CHIP: dict[str, Metric] = {
    "output_tok_s_per_gpu": "output_tokens_per_s",
    "total_tok_s_per_gpu": "total_tokens_per_s",
}
_DECODE_ONLY = re.compile(r"decode phase only|decode tok/s|decode rate|response rate")
_SPECULATIVE = re.compile(r"(?<!no )MTP|(?<!no )speculative|fused spec", re.IGNORECASE)


class _NotReproducibleError(Exception):
    """Why a run cannot be reproduced."""


@dataclass(frozen=True)
class PublishedPower:
    """A published power figure; not a latency, so kept apart from the measurements.

    Attributes
    ----------
    id, reference, hardware, model, load : str
        As the row has them.
    chips : int
    watts : float
        Of the whole system, at the wall, where `scope` says so.
    scope : {"system", "chip"}
    phase : {"decode", "prefill", "serving"}
        What the chips were doing.
    output_tokens_per_s : float
        Throughput at that power; 0 where it is not stated.
    """

    id: str
    reference: str
    hardware: str
    model: str
    load: str
    chips: int
    watts: float
    scope: Literal["system", "chip"]
    phase: Literal["decode", "prefill", "serving"]
    output_tokens_per_s: float


def read_published(path: Path) -> Readings:
    """Read the table, each run once; power figures are left to :func:`published_power`.

    Raises
    ------
    InputError
        If a column is missing, or a value is not a number.
    """
    rows = read_rows(path, COLUMNS)
    runs: list[list[Row]] = []
    latest: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.text("metric") == _POWER:
            continue
        speculative = str(bool(_SPECULATIVE.search(row.text("notes"))))
        key = (*(row.text(name) for name in _RUN), speculative)
        run = latest.get(key)
        if run is None or row.text("metric") in {other.text("metric") for other in run}:
            run = latest[key] = []
            runs.append(run)
        run.append(row)
    readings = [_read(run) for run in runs]
    return Readings(
        tuple(one for one in readings if isinstance(one, Measurement)),
        tuple(one for one in readings if isinstance(one, Unsupported)),
        len(rows),
    )


def published_power(path: Path) -> list[PublishedPower]:
    """Return the power figures of the table.

    Raises
    ------
    InputError
        As :func:`read_published`.
    """
    return [_power(row) for row in read_rows(path, COLUMNS) if row.text("metric") == _POWER]


def _power(row: Row) -> PublishedPower:
    notes = row.text("notes")
    throughput = re.search(r"producing ([\d.]+) tok/s", notes)
    phase: Literal["decode", "prefill", "serving"] = "serving"
    if "decode only" in row.text("load"):
        phase = "decode"
    elif "prefill only" in row.text("load"):
        phase = "prefill"
    return PublishedPower(
        id=row.text("id"),
        reference=row.text("source"),
        hardware=hardware_id(row.text("hardware")) or row.text("hardware"),
        model=model_id(row.text("model")) or row.text("model"),
        load=f"{row.text('workload')}, {row.text('load')}",
        chips=row.whole("chips") or 0,
        watts=row.number("value") or 0.0,
        scope="system" if "system" in notes else "chip",
        phase=phase,
        output_tokens_per_s=float(throughput[1]) if throughput else 0.0,
    )


def _read(run: list[Row]) -> Measurement | Unsupported:
    """Return the figures of one run as a measurement, or why that is impossible."""
    row = run[0]
    try:
        _refuse_what_hides_too_much(row)
        load = _load(row)
        setup = _setup(row)
        observed = dict(_observed(each, load, setup) for each in run)
    except _NotReproducibleError as problem:
        hardware = hardware_id(row.text("hardware")) or row.text("hardware")
        model = model_id(row.text("model")) or row.text("model")
        return Unsupported(row.text("id"), "published", hardware, model, engine_id(row.text("framework")), str(problem))
    median = all("P50" in each.text("notes") for each in run)
    statistic: Literal["mean", "median"] = "median" if median else "mean"
    return Measurement(row.text("id"), "published", row.text("source"), setup, load, observed, statistic)


def _refuse_what_hides_too_much(row: Row) -> None:
    """Refuse runs whose figures depend on what nobody published.

    Raises
    ------
    _NotReproducibleError
        With the reason.
    """
    notes, load = row.text("notes"), row.text("load")
    reasons = (
        (
            "per-user" in load or row.text("framework") == "vendor API",
            "hosted API: chips, batch and speculation hidden",
        ),
        (bool(_SPECULATIVE.search(notes)), "speculative decoding: acceptance unknown"),
        ("MLPerf" in row.text("workload"), "MLPerf: input lengths are not in the logs"),
        ("interpolated" in notes, "interpolated by the publisher; parallelism not stated"),
        ("INTERPRETATION" in notes, "the source does not define its latency"),
        (load in ("prefill only", "decode only"), "batch and lengths not stated"),
        (not row.text("chips").isdigit(), "number of chips not stated"),
    )
    for applies, reason in reasons:
        if applies:
            raise _NotReproducibleError(reason)


def _load(row: Row) -> MeasuredLoad:
    requests = parse_requests(row.text("load"), row.text("notes"))
    lengths = parse_lengths(row.text("workload"), row.text("notes"), requests)
    if lengths is None:
        msg = "lengths not stated"
        raise _NotReproducibleError(msg)
    load = parse_load(row.text("load"), row.text("notes"), *lengths)
    if load is None:
        msg = "load not stated"
        raise _NotReproducibleError(msg)
    return load


def _setup(row: Row) -> MeasuredSetup:
    hardware, model = hardware_id(row.text("hardware")), model_id(row.text("model"))
    engine = engine_id(row.text("framework"))
    if hardware is None:
        msg = f"no profile of {row.text('hardware')}"
        raise _NotReproducibleError(msg)
    if model is None:
        msg = f"no model {row.text('model')}"
        raise _NotReproducibleError(msg)
    spread = parse_parallelism(row.text("parallelism"), row.whole("chips") or 0)
    if spread is None:
        msg = "parallelism not stated"
        raise _NotReproducibleError(msg)
    precision = parse_precision(row.text("precision"), model, hardware, engine)
    if precision is None:
        msg = "precision not stated"
        raise _NotReproducibleError(msg)
    version = re.search(r"v?(\d+\.\d+[\w.]*)", row.text("framework"))
    return MeasuredSetup(
        hardware, model, engine, version[1] if version else "", precision, spread.parallelism, spread.replicas
    )


def _observed(row: Row, load: MeasuredLoad, setup: MeasuredSetup) -> tuple[Metric, float]:
    """Return one figure in this project's terms and units."""
    name, value = row.text("metric"), row.number("value")
    if not value:
        msg = "no value"
        raise _NotReproducibleError(msg)
    if name in _PER_CHIP:
        degrees = setup.parallelism
        return _PER_CHIP[name], value * degrees["tensor"] * degrees["pipeline"] * setup.replicas
    if name not in _METRICS:
        msg = f"metric {name} is not modelled"
        raise _NotReproducibleError(msg)
    metric, unit = _METRICS[name]
    without_prompt = re.match(r"^(tg\d+|context depth)", row.text("workload"))
    if name.startswith("output_tok_s") and (without_prompt or _DECODE_ONLY.search(row.text("notes"))):
        sequences = load.concurrency if name == "output_tok_s_total" else 1
        return "tpot_s", sequences / value
    return metric, value * unit
