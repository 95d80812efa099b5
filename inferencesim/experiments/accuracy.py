"""The accuracy of predictions: every measurement simulated, and compared with what was observed."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.calibration import NO_CALIBRATION, SHIPPED, calibrations_of
from inferencesim.errors import InputError, did_you_mean
from inferencesim.experiments.fitting import is_saturated
from inferencesim.experiments.parallel import run_all
from inferencesim.experiments.replay import Replay
from inferencesim.experiments.reproduce import Reproduction
from inferencesim.measurements.request_traces import RequestTrace
from inferencesim.results.accuracy import (
    COLUMNS,
    AccuracyReport,
    Column,
    Comparison,
    CrossValidated,
    NotReproduced,
    compared_figures,
    group_accuracy,
    summarise,
)
from inferencesim.results.manifest import package_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from inferencesim.measurements.measurement import Measurement, Readings, Unsupported

#: Groups of the report unless others are asked for.
GROUP_BY: tuple[Column, ...] = ("source", "hardware", "engine", "model")


@dataclass(frozen=True)
class Work:
    """What there is to compare.

    Attributes
    ----------
    reproductions : tuple of callables
        One per measurement, without arguments, which simulates it; picklable. Another kind of measurement joins by
        another kind of callable.
    unsupported : tuple of NotReproduced
        What is known beforehand to be impossible.
    rows_read : int
        Rows of the files.
    """

    reproductions: tuple[Callable[[], Comparison | NotReproduced], ...]
    unsupported: tuple[NotReproduced, ...]
    rows_read: int


def plan_work(
    readings: Readings,
    *,
    calibration: str = SHIPPED,
    only: Mapping[Column, str] | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> Work:
    """Return the measurements to compare.

    Parameters
    ----------
    readings : Readings
    calibration : str
        As a pool of a scenario takes it.
    only : mapping of column to value, optional
        Rows with these values alone.
    sample : int, optional
        So many of the supported measurements, drawn at random without replacement.
    seed : int
        Of the sample.

    Raises
    ------
    InputError
        If no measurement has a value of `only`.
    """
    measurements = list(readings.measurements)
    unsupported = [_refused(each) for each in readings.unsupported]
    for column, value in (only or {}).items():
        known = {columns_of(each)[column] for each in measurements} | {getattr(each, column) for each in unsupported}
        if value not in known:
            remedy = did_you_mean(value, known - {""})
            raise InputError("--only", f"no measurement has {column} {value!r}", remedy)
        measurements = [each for each in measurements if columns_of(each)[column] == value]
        unsupported = [each for each in unsupported if getattr(each, column) == value]
    if sample is not None and sample < len(measurements):
        drawn = np.random.default_rng(seed).choice(len(measurements), sample, replace=False)
        measurements = [measurements[place] for place in np.sort(drawn)]
    return Work(
        tuple(functools.partial(compare, each, calibration) for each in measurements),
        tuple(unsupported),
        readings.rows,
    )


def compare(measurement: Measurement, calibration: str = SHIPPED) -> Comparison | NotReproduced:
    """Simulate a measurement and put its figures beside the observed ones."""
    columns = columns_of(measurement)
    try:
        reproduction = _reproduction(measurement, calibration)
        predicted = reproduction.simulate()
    except InputError as problem:
        # What follows the colon are this row's own numbers; rows with the same reason are counted together.
        return NotReproduced(id=measurement.id, **columns, reason=problem.what.partition(":")[0])
    figures = compared_figures(measurement.observed, predicted, measurement.load.prompt_tokens.mean)
    if not figures:
        reason = "no request can be served: longer than the context, or than the KV cache"
        return NotReproduced(id=measurement.id, **columns, reason=reason)
    deployment = reproduction.plan.pools[0].deployment
    replay = reproduction if isinstance(reproduction, Replay) else None
    return Comparison(
        id=measurement.id,
        **columns,
        calibrated=deployment.calibration is not None,
        step_table=deployment.table is not None,
        expected_error=deployment.expected_error,
        below_saturation=measurement.load.kind != "offline" and not is_saturated(measurement),
        disaggregated=measurement.setup.prefill is not None,
        figures=figures,
        series=() if replay is None else replay.series(),
        preemptions=None if replay is None else replay.preemptions,
    )


def _reproduction(measurement: Measurement, calibration: str) -> Replay | Reproduction:
    if isinstance(measurement, RequestTrace):
        return Replay(measurement)
    return Reproduction(measurement, calibration)


def measure_accuracy(
    work: Work,
    *,
    data: str,
    calibration: str = SHIPPED,
    by: Sequence[Column] = GROUP_BY,
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
) -> AccuracyReport:
    """Simulate everything and return its errors.

    Parameters
    ----------
    work : Work
    data : str
        What the report calls the measurements.
    calibration : str
        That of `work`, for the report.
    by : sequence of columns
        What a group has in common.
    jobs : int
        Processes.
    progress : callable, optional
        Called with (measurements done, measurements in all).
    """
    outcomes = run_all(work.reproductions, jobs=jobs, progress=progress)
    rows = [each for each in outcomes if isinstance(each, Comparison)]
    unsupported = [*work.unsupported, *(each for each in outcomes if isinstance(each, NotReproduced))]
    whole = [row for row in rows if not row.disaggregated]
    apart = [row for row in rows if row.disaggregated]
    fitted = [row for row in whole if row.calibrated]
    measured = [row for row in whole if row.step_table]
    priors = [row for row in whole if row.priors_only]
    return AccuracyReport(
        versions=package_versions(),
        data=data,
        calibration=calibration,
        rows_read=work.rows_read,
        group_by=tuple(by),
        groups=summarise(rows, unsupported, by),
        sources=summarise(rows, unsupported, ("source",)),
        total=group_accuracy({"set": "all"}, rows, len(unsupported)),
        calibrated=group_accuracy({"set": "calibrated (chip, engine) pairs"}, fitted, None),
        step_tables=group_accuracy({"set": "measured step tables"}, measured, None),
        class_priors=group_accuracy({"set": "class priors only"}, priors, None),
        disaggregated=group_accuracy({"set": "disaggregated prefill and decode"}, apart, None),
        cross_validated=tuple(_cross_validated(fitted)) if calibration != NO_CALIBRATION else (),
        rows=tuple(rows),
        unsupported=tuple(unsupported),
    )


def columns_of(measurement: Measurement) -> dict[Column, str]:
    """Return the values by which a measurement can be grouped."""
    setup = measurement.setup
    return {
        "source": measurement.source,
        "hardware": setup.hardware,
        "engine": setup.engine,
        "model": setup.model,
        "precision": _formats(setup.precision),
        "load": measurement.load.kind,
    }


def group_columns(names: Iterable[str], where: str = "--group") -> tuple[Column, ...]:
    """Return columns by their names; `where` is the option that gave them.

    Raises
    ------
    InputError
        For an unknown one, or one given twice.
    """
    found: list[Column] = []
    for name in names:
        column = next((each for each in COLUMNS if each == name), None)
        if column is None:
            raise InputError(where, f"unknown column {name!r}", did_you_mean(name, COLUMNS))
        if column in found:
            raise InputError(where, f"{name!r} is given twice", "Name each column once.")
        found.append(column)
    return tuple(found)


def _refused(row: Unsupported) -> NotReproduced:
    return NotReproduced(
        id=row.id, source=row.source, hardware=row.hardware, engine=row.engine, model=row.model, reason=row.reason
    )


def _formats(precision: Mapping[str, str]) -> str:
    """Return number formats in a word: that of the weights, and what differs from it."""
    weights = precision["weights"]
    parts = [weights]
    experts = precision.get("expert_weights", weights)
    if experts != weights:
        parts.append(f"{experts} experts")
    if precision["kv"] != weights:
        parts.append(f"{precision['kv']} KV")
    return ", ".join(parts)


def _cross_validated(rows: Sequence[Comparison]) -> Iterable[CrossValidated]:
    for hardware, engine in sorted({(row.hardware, row.engine) for row in rows}):
        for each in calibrations_of(hardware):
            if each.engine == engine:
                yield CrossValidated(
                    hardware=hardware, engine=engine, unseen_rows=each.unseen_rows, unseen_models=each.unseen_models
                )
