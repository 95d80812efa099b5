"""Calibrating a chip with an engine: the fit, and its error on measurements it has not seen."""

from __future__ import annotations

import concurrent.futures
import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment import calibration as calibrations
from inferencesim.deployment.calibration import Calibration, Fit
from inferencesim.deployment.engine import load_engine
from inferencesim.errors import InputError
from inferencesim.experiments.fitting import Errors, Point, evaluate, fit
from inferencesim.experiments.reproduce import Reproduction
from inferencesim.hardware.catalog import load_profile
from inferencesim.measurements.groups import split_groups, split_rows
from inferencesim.measurements.measurement import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferencesim.measurements.measurement import Measurement

#: Folds of random rows.
FOLDS = 4

#: Measurements of one fit at most, drawn at random: a dozen and a half parameters need no more.
FIT_SAMPLE = 96

#: Iterations of the fit, and of each fit of the cross-validation.
EVALUATIONS = 8
FOLD_EVALUATIONS = 6

#: Fewer measurements than this fit nothing.
FEWEST = 8


#: One fit: its name, what it is fitted to, what it is tested on, and its iterations.
_Task = tuple[str, "Sequence[Measurement]", "Sequence[Measurement]", int]


@dataclass(frozen=True)
class Calibrated:
    """A calibration, and what it could not use.

    Attributes
    ----------
    calibration : Calibration
    unsupported : tuple of Unsupported
        Measurements that could not be deployed.
    before : calibrations.Errors
        Errors of the class priors on the same measurements.
    """

    calibration: Calibration
    unsupported: tuple[Unsupported, ...]
    before: calibrations.Errors


def calibrate(
    measurements: Sequence[Measurement],
    hardware: str,
    engine: str,
    *,
    source: str,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Calibrated:
    """Fit the parameters of one chip under one engine, and cross-validate.

    Parameters
    ----------
    measurements : sequence of Measurement
        Those of other chips and engines are left aside.
    hardware, engine : str
        A profile (id or path) and an engine.
    source : str
        Where the measurements are from, for the file.
    seed : int
        Of the folds and of the sample.
    jobs : int
        Processes; each fit of the cross-validation is a task of its own.
    progress : callable, optional
        Called with (what ended, fits done, fits in all).

    Raises
    ------
    InputError
        For an unknown chip or engine, or fewer than :data:`FEWEST` usable measurements.
    """
    profile, served_by = load_profile(hardware, "--hardware"), load_engine(engine, "--engine")
    start = Point(profile, served_by)
    own = [each for each in measurements if (each.setup.hardware, each.setup.engine) == (profile.id, served_by.id)]
    reproductions, unsupported = prepare(own)
    usable = [each.measurement for each in reproductions]
    if len(usable) < FEWEST:
        raise InputError(
            "measurements",
            f"only {len(usable)} of {profile.id} with {served_by.id} can be reproduced",
            f"A calibration needs {FEWEST}. {_reasons(unsupported)}".strip(),
        )
    day = datetime.datetime.now(tz=datetime.UTC).date()
    words = f"fitted on {day} to {len(usable)} measurements: {source}"
    splits = [(f"rows {split.name}", split.training, split.held_out) for split in split_rows(usable, FOLDS, seed)]
    rows = len(splits)
    models = sorted({each.setup.model for each in usable})
    if len(models) > 1:
        splits += [(f"without {s.name}", s.training, s.held_out) for s in split_groups(usable, by="model")]
    tasks: list[_Task] = [("all", usable, (), EVALUATIONS)]
    tasks += [(name, training, held_out, FOLD_EVALUATIONS) for name, training, held_out in splits]
    results = _run(tasks, start, words, seed, jobs, progress)
    best, _ = results[0]
    unseen = [errors for _, errors in results[1:]]
    fitted = Calibration(
        schema=1,
        hardware=profile.id,
        engine=served_by.id,
        fit=Fit(
            day=day,
            measurements=len(usable),
            models=tuple(models),
            engine_versions=tuple(sorted({each.setup.engine_version for each in usable} - {""})),
            source=source,
        ),
        unseen_rows=_summary(unseen[:rows]),
        unseen_models=_summary(unseen[rows:]) if len(models) > 1 else None,
        efficiency=best.hardware.efficiency,
        overhead=best.hardware.overhead,
        host=best.host,
    )
    return Calibrated(fitted, tuple(unsupported), _summary([evaluate(start, reproductions)]))


def prepare(measurements: Sequence[Measurement]) -> tuple[list[Reproduction], list[Unsupported]]:
    """Return the measurements that can be deployed, uncalibrated, and the others with the reason."""
    ready: list[Reproduction] = []
    unsupported: list[Unsupported] = []
    for each in measurements:
        try:
            ready.append(Reproduction(each, calibrations.NO_CALIBRATION))
        except InputError as problem:
            setup = each.setup
            unsupported.append(
                Unsupported(each.id, each.source, setup.hardware, setup.model, setup.engine, problem.what)
            )
    return ready, unsupported


def _run(
    tasks: list[_Task],
    start: Point,
    source: str,
    seed: int,
    jobs: int,
    progress: Callable[[str, int, int], None] | None,
) -> list[tuple[Point, Errors]]:
    results: list[tuple[Point, Errors]] = []
    with concurrent.futures.ProcessPoolExecutor(jobs) as workers:
        pending = [workers.submit(_fit_and_test, task, start, source, seed) for task in tasks]
        for done, (task, future) in enumerate(zip(tasks, pending, strict=True), 1):
            results.append(future.result())
            if progress is not None:
                progress(task[0], done, len(tasks))
    return results


def _fit_and_test(task: _Task, start: Point, source: str, seed: int) -> tuple[Point, Errors]:
    """Fit to one part of the measurements and return the errors on the other."""
    _, training, held_out, evaluations = task
    chosen = list(training)
    if len(chosen) > FIT_SAMPLE:
        picks = np.random.default_rng(seed).choice(len(chosen), FIT_SAMPLE, replace=False)
        chosen = [chosen[i] for i in np.sort(picks)]
    best = fit(start, prepare(chosen)[0], source, evaluations=evaluations)
    return best, evaluate(best, prepare(held_out)[0])


def _summary(parts: Sequence[Errors]) -> calibrations.Errors:
    main = np.abs(np.expm1(np.concatenate([part.main for part in parts])))
    ttft = np.abs(np.expm1(np.concatenate([part.ttft for part in parts])))
    main, ttft = main[~np.isnan(main)], ttft[~np.isnan(ttft)]

    def rounded(figure: float) -> float:
        return float(f"{figure:.3g}")

    return calibrations.Errors(
        measurements=main.size,
        tpot_median=rounded(np.median(main)),
        tpot_mean=rounded(main.mean()),
        tpot_p90=rounded(np.quantile(main, 0.9)),
        ttft_median=rounded(np.median(ttft)) if ttft.size else 0.0,
    )


def _reasons(unsupported: Sequence[Unsupported]) -> str:
    if not unsupported:
        return ""
    return f"{len(unsupported)} cannot be deployed, the first because {unsupported[0].reason}."
