"""Calibrating a chip with an engine: the fit, and its error on measurements it has not seen."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from inferencesim.deployment.calibration import NO_CALIBRATION, Calibration, Errors, Fit, Host
from inferencesim.deployment.engine import load_engine
from inferencesim.errors import InputError
from inferencesim.experiments.fitting import PARAMETERS, LogRatios, Point, evaluate, fit, targets
from inferencesim.experiments.parallel import run_all
from inferencesim.experiments.reproduce import Reproduction
from inferencesim.hardware.catalog import load_profile
from inferencesim.hardware.profile import Efficiency, Overhead
from inferencesim.measurements.groups import split_groups, split_rows
from inferencesim.measurements.measurement import Unsupported
from inferencesim.results.calibration import Calibrated, FittedParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from inferencesim.measurements.groups import Split
    from inferencesim.measurements.measurement import Measurement

Block = TypeVar("Block", Efficiency, Overhead, Host)

#: Folds of random rows.
FOLDS = 4

#: Measurements of one fit at most, drawn at random: a dozen and a half parameters need no more.
FIT_SAMPLE = 80

#: The same of each fit of the cross-validation: what it finds is a little worse, and so is the error it reports.
FOLD_SAMPLE = 48

#: Iterations of the fit, and of each fit of the cross-validation.
EVALUATIONS = 7
FOLD_EVALUATIONS = 4

#: Fewer measurements than this fit nothing.
FEWEST = 8

#: A parameter within this share of a bound has reached it; one that moved by less was only kept off its bound.
_TOUCHING = 0.002


def calibrate(
    measurements: Sequence[Measurement],
    hardware: str,
    engine: str,
    *,
    source: str,
    refused: Iterable[Unsupported] = (),
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
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
    refused : iterable of Unsupported
        What the readers could not use; that of this chip and engine is reported with what cannot be deployed.
    seed : int
        Of the folds and of the sample.
    jobs : int
        Processes; each fit of the cross-validation is a task of its own.
    progress : callable, optional
        Called with (fits done, fits in all).

    Raises
    ------
    InputError
        For an unknown chip or engine, or fewer than :data:`FEWEST` usable measurements.
    """
    profile, served_by = load_profile(hardware, "--hardware"), load_engine(engine, "--engine")
    start = Point(profile, served_by)
    own = _of_pair(measurements, start, hardware)
    reproductions, unsupported = prepare(own)
    unsupported += [each for each in refused if (each.hardware, each.engine) == (profile.id, served_by.id)]
    _require_enough(reproductions, measurements, unsupported, start)
    usable = [each.measurement for each in reproductions]
    by_rows, by_models = _splits(usable, seed)
    day = datetime.datetime.now(tz=datetime.UTC).date()
    words = f"fitted on {day} to {len(usable)} measurements with {served_by.id}"
    fits = [functools.partial(_fit_and_test, usable, (), start, words, seed, EVALUATIONS)]
    fits += [
        functools.partial(_fit_and_test, split.training, split.held_out, start, words, seed, FOLD_EVALUATIONS)
        for split in (*by_rows, *by_models)
    ]
    if progress is not None:
        progress(0, len(fits))
    # A single fit takes far longer than a process to start.
    (best, _), *folds = run_all(fits, jobs=jobs, pieces_per_process=1, progress=progress)
    unseen = [ratios for _, ratios in folds]
    parameters = _parameters(start, best)
    fitted = Calibration(
        schema=1,
        hardware=profile.id,
        engine=served_by.id,
        fit=Fit(
            day=day,
            measurements=len(usable),
            models=tuple(sorted({each.plan.pools[0].deployment.model.id for each in reproductions})),
            engine_versions=tuple(sorted({each.setup.engine_version for each in usable} - {""})),
            source=source,
        ),
        unseen_rows=_summary(unseen[: len(by_rows)]),
        unseen_models=_summary(unseen[len(by_rows) :]) if by_models else None,
        efficiency=_kept("efficiency", profile.efficiency, best.hardware.efficiency, parameters),
        overhead=_kept("overhead", profile.overhead, best.hardware.overhead, parameters),
        host=_kept("host", start.host, best.host, parameters),
    )
    return Calibrated(
        calibration=fitted,
        before=_summary([evaluate(start, reproductions)]),
        parameters=parameters,
        unsupported=tuple(unsupported),
        others=len(measurements) - len(own),
    )


def prepare(measurements: Iterable[Measurement]) -> tuple[list[Reproduction], list[Unsupported]]:
    """Return the measurements that a fit can use, uncalibrated, and the others with the reason."""
    ready: list[Reproduction] = []
    unsupported: list[Unsupported] = []
    for each in measurements:
        try:
            reproduction = Reproduction(each, NO_CALIBRATION)
        except InputError as problem:
            # What follows the colon are this one's own numbers; those with the same reason are counted together.
            reason = problem.what.partition(":")[0]
        else:
            reason = _unusable(reproduction)
            if not reason:
                ready.append(reproduction)
                continue
        setup = each.setup
        unsupported.append(Unsupported(each.id, each.source, setup.hardware, setup.model, setup.engine, reason))
    return ready, unsupported


def _unusable(reproduction: Reproduction) -> str:
    """Return why a measurement that can be deployed says nothing; empty if it does."""
    load = reproduction.measurement.load
    if reproduction.measurement.setup.prefill is not None:
        return "disaggregated: what its workers tell apart is not one step time"
    if load.prompt_tokens.low + load.output_tokens.low > reproduction.plan.pools[0].deployment.context_limit:
        return "no request can be served: longer than the context, or than the KV cache"
    return "" if targets(reproduction) else "none of its figures is a TPOT, a rate of tokens, an E2E or a TTFT"


def _of_pair(measurements: Iterable[Measurement], start: Point, hardware: str) -> list[Measurement]:
    """Return the measurements of the chip and engine, the chip named as the user did: by its id or its file."""
    return [
        dataclasses.replace(each, setup=dataclasses.replace(each.setup, hardware=hardware))
        for each in measurements
        if each.setup.hardware in (hardware, start.hardware.id) and each.setup.engine == start.engine.id
    ]


def _require_enough(
    reproductions: Sequence[Reproduction],
    measurements: Sequence[Measurement],
    unsupported: Sequence[Unsupported],
    start: Point,
) -> None:
    """Refuse too few measurements, and say what there was instead."""
    timed = [each for each in reproductions if any(target.metric != "ttft_s" for target in targets(each))]
    if len(timed) >= FEWEST:
        return
    reasons = []
    if unsupported:
        reasons.append(f"{len(unsupported)} could not be used, the first because: {unsupported[0].reason}.")
    if len(timed) < len(reproductions):
        reasons.append(f"{len(reproductions) - len(timed)} have neither TPOT nor a rate of tokens nor E2E.")
    if not reproductions and not unsupported:
        reasons.append(_what_there_is(measurements, start.hardware.id))
    raise InputError(
        "measurements",
        f"{len(timed)} of {start.hardware.id} with {start.engine.id} can be used",
        " ".join([f"A calibration needs {FEWEST}.", *reasons]),
    )


def _what_there_is(measurements: Iterable[Measurement], chip: str) -> str:
    setups = [each.setup for each in measurements]
    engines = sorted({setup.engine for setup in setups if setup.hardware == chip})
    if engines:
        return f"Of this chip there are some with {', '.join(engines)}."
    return f"There are some of {', '.join(sorted({setup.hardware for setup in setups})) or 'nothing'}."


def _splits(measurements: Sequence[Measurement], seed: int) -> tuple[list[Split], list[Split]]:
    """Return the splits over random rows, and those that leave one model out (none if there is only one).

    Raises
    ------
    InputError
        If the measurements are of too few different conditions to leave some out.
    """
    by_rows = split_rows(measurements, FOLDS, seed)
    if not all(split.held_out for split in by_rows):
        what = f"they are of fewer than {FOLDS} different conditions, so none can be left out to test the fit"
        raise InputError("measurements", what, "Measure other lengths, more or fewer clients, or another model.")
    by_models = split_groups(measurements, by="model")
    return by_rows, by_models if len(by_models) > 1 else []


def _fit_and_test(
    training: Sequence[Measurement],
    held_out: Sequence[Measurement],
    start: Point,
    source: str,
    seed: int,
    evaluations: int,
) -> tuple[Point, LogRatios]:
    """Fit to one part of the measurements and return how far off the other is."""
    chosen = list(training)
    most = FOLD_SAMPLE if held_out else FIT_SAMPLE
    if len(chosen) > most:
        picks = np.random.default_rng(seed).choice(len(chosen), most, replace=False)
        chosen = [chosen[i] for i in np.sort(picks)]
    best = fit(start, prepare(chosen)[0], source, evaluations=evaluations)
    return best, evaluate(best, prepare(held_out)[0])


def _parameters(start: Point, best: Point) -> tuple[FittedParameter, ...]:
    """Return what the fit did to each parameter."""
    found = []
    for parameter, prior, value in zip(PARAMETERS, start.numbers, best.numbers, strict=True):
        quantity = best.quantity(parameter.block, parameter.name)
        unit = quantity.si_per_unit
        moved = _apart(value, prior)
        low, high = not _apart(value, parameter.low), not _apart(value, parameter.high)
        found.append(
            FittedParameter(
                name=f"{parameter.block}.{parameter.name}",
                unit=quantity.unit,
                prior=prior / unit,
                value=value / unit,
                low=parameter.low / unit,
                high=parameter.high / unit,
                fitted=moved,
                at_bound="low" if moved and low else "high" if moved and high else None,
            )
        )
    return tuple(found)


def _apart(one: float, other: float) -> bool:
    return not math.isclose(one, other, rel_tol=_TOUCHING)


def _kept(block: str, old: Block, new: Block, parameters: Sequence[FittedParameter]) -> Block:
    """Return a block in which what did not move keeps its own value, source and provenance."""
    unmoved = {each.name for each in parameters if not each.fitted}
    names = [name for name in type(old).model_fields if f"{block}.{name}" in unmoved]
    return new.model_copy(update={name: getattr(old, name) for name in names})


def _summary(parts: Sequence[LogRatios]) -> Errors:
    main = np.abs(np.expm1(np.concatenate([part.main for part in parts])))
    ttft = np.abs(np.expm1(np.concatenate([part.ttft for part in parts])))
    main, ttft = main[~np.isnan(main)], ttft[~np.isnan(ttft)]

    def rounded(figure: float) -> float:
        return float(f"{figure:.3g}")

    return Errors(
        measurements=main.size,
        tpot_median=rounded(np.median(main)),
        tpot_mean=rounded(main.mean()),
        tpot_p90=rounded(np.quantile(main, 0.9)),
        ttft_median=rounded(np.median(ttft)) if ttft.size else 0.0,
    )
