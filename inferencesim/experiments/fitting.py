"""Fitting a calibration: a few bounded parameters, moved until simulations meet measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.optimize import least_squares

from inferencesim.deployment.calibration import Host
from inferencesim.deployment.coefficients import FOUR_BIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from inferencesim.deployment.engine import Engine
    from inferencesim.experiments.reproduce import Reproduction
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.hardware.quantity import Quantity
    from inferencesim.measurements.measurement import Measurement, Metric


@dataclass(frozen=True)
class Parameter:
    """A number a calibration may move.

    Attributes
    ----------
    block : {"efficiency", "overhead", "host"}
    name : str
        Its field there.
    low, high : float
        Physical bounds, SI.
    """

    block: str
    name: str
    low: float
    high: float


#: What is fitted. Shares end below the peak; times end where they would be a defect rather than an overhead.
PARAMETERS = (
    Parameter("efficiency", "compute", 0.15, 0.9),
    Parameter("efficiency", "memory", 0.3, 0.95),
    Parameter("efficiency", "cache", 0.15, 0.95),
    Parameter("efficiency", "attention", 0.1, 0.9),
    Parameter("efficiency", "expert_compute", 0.08, 0.9),
    Parameter("efficiency", "expert_memory", 0.2, 0.95),
    Parameter("efficiency", "four_bit_compute", 0.2, 1.0),
    Parameter("efficiency", "four_bit_memory", 0.3, 1.0),
    Parameter("efficiency", "link", 0.1, 0.95),
    Parameter("efficiency", "overlap", 0.02, 1.0),
    Parameter("efficiency", "half_rows", 4.0, 256.0),
    Parameter("overhead", "layer", 1e-6, 60e-6),
    Parameter("overhead", "expert_layer", 1e-6, 100e-6),
    Parameter("overhead", "collective", 0.5e-6, 40e-6),
    Parameter("host", "step", 20e-6, 5e-3),
    Parameter("host", "sequence", 0.1e-6, 60e-6),
    Parameter("host", "launch", 10e-6, 4e-3),
    Parameter("host", "request", 1e-3, 0.2),
)

#: A parameter twice as large as its prior costs as much as measurements that are off by this share.
PRIOR_SHARE = 0.08

#: TTFT counts less than TPOT: it is queueing and warm-up as much as physics; where queueing rules, hardly at all.
TTFT_WEIGHT = 0.35
SATURATED_WEIGHT = 0.05

#: A measured TTFT above this share of a request's E2E is queueing.
SATURATED_SHARE = 0.25

#: Residuals beyond this share grow linearly, not squared: some measurements are of something else.
ROBUST_SHARE = 0.12

#: Step of the numeric derivatives in ln(parameter): requests that change their step make the figures jump a little,
#: and a smaller one would measure that.
DERIVATIVE_STEP = 0.04

#: Where the search starts on each axis, so that SciPy's steps, which are relative, are alike.
_ORIGIN = 10.0

#: Rates count like the latencies they are the inverse of.
_RATES: frozenset[Metric] = frozenset(
    {
        "output_tokens_per_s",
        "total_tokens_per_s",
        "requests_per_s",
        "output_tokens_per_s_per_user",
        "prefill_tokens_per_s",
    }
)


class Target(NamedTuple):
    """One observed figure of a measurement and how much it counts."""

    metric: Metric
    observed: float
    weight: float


def targets(reproduction: Reproduction) -> list[Target]:
    """Return the figures of a measurement which the fit tries to meet: TPOT or else one rate, and TTFT."""
    measurement = reproduction.measurement
    observed = measurement.observed
    found: list[Target] = []
    for metric in ("tpot_s", "output_tokens_per_s_per_user", "output_tokens_per_s", "total_tokens_per_s"):
        if metric in observed:
            found.append(Target(metric, observed[metric], 1.0))
            break
    else:
        found.extend(Target(metric, observed[metric], 1.0) for metric in ("makespan_s", "e2e_s") if metric in observed)
    if "ttft_s" in observed:
        weight = SATURATED_WEIGHT if is_saturated(reproduction.measurement) else TTFT_WEIGHT
        found.append(Target("ttft_s", observed["ttft_s"], weight))
    return found


def is_saturated(measurement: Measurement) -> bool:
    """Whether the measured TTFT is mostly queueing: more than a quarter of the E2E it belongs to."""
    observed = measurement.observed
    if "ttft_s" not in observed or "tpot_s" not in observed:
        return False
    e2e = observed["ttft_s"] + observed["tpot_s"] * (measurement.load.output_tokens.mean - 1.0)
    return observed["ttft_s"] > SATURATED_SHARE * e2e


@dataclass(frozen=True)
class Point:
    """A profile and an engine whose parameters are being moved."""

    hardware: HardwareProfile
    engine: Engine

    @property
    def numbers(self) -> NDArray[np.float64]:
        """The PARAMETERS at this point, SI."""
        return np.array([self.quantity(each.block, each.name).si for each in PARAMETERS])

    def moved(self, numbers: NDArray[np.float64], source: str) -> Point:
        """Return the point with other parameters, which say where they are from."""
        blocks: dict[str, dict[str, Quantity]] = {"efficiency": {}, "overhead": {}, "host": {}}
        for parameter, number in zip(PARAMETERS, numbers, strict=True):
            old = self.quantity(parameter.block, parameter.name)
            blocks[parameter.block][parameter.name] = _fitted(old, float(number), source)
        hardware = self.hardware.model_copy(
            update={
                "efficiency": self.hardware.efficiency.model_copy(update=blocks["efficiency"]),
                "overhead": self.hardware.overhead.model_copy(update=blocks["overhead"]),
            }
        )
        return Point(hardware, self.engine.model_copy(update=blocks["host"]))

    @property
    def host(self) -> Host:
        """The engine's costs, as a calibration holds them."""
        engine = self.engine
        return Host(step=engine.step, sequence=engine.sequence, launch=engine.launch, request=engine.request)

    def quantity(self, block: str, name: str) -> Quantity:
        """Return a number of a block of the profile; ``host`` stands for the engine's costs."""
        holder: Any = self.engine if block == "host" else getattr(self.hardware, block)
        quantity: Quantity = getattr(holder, name)
        return quantity


#: Digits of a fitted number: more would claim what no fit knows.
DIGITS = 4


def _fitted(old: Quantity, number: float, source: str) -> Quantity:
    value = float(f"{number / old.si_per_unit:.{DIGITS}g}")
    return type(old)(value=value, unit=old.unit, source=source, provenance="fitted")


class LogRatios(NamedTuple):
    """ln(predicted / observed) of the main figure (TPOT or a rate, as a time) and of TTFT; NaN where not observed."""

    main: NDArray[np.float64]
    ttft: NDArray[np.float64]


def evaluate(point: Point, reproductions: Sequence[Reproduction]) -> LogRatios:
    """Simulate all measurements at a point and compare."""
    main, ttft = np.full(len(reproductions), np.nan), np.full(len(reproductions), np.nan)
    for i, reproduction in enumerate(reproductions):
        figures = reproduction.simulate(point.hardware, point.engine)
        for target in targets(reproduction):
            if target.metric not in figures:
                continue
            ratio = math.log(figures[target.metric] / target.observed)
            if target.metric == "ttft_s":
                ttft[i] = ratio
            else:
                main[i] = -ratio if target.metric in _RATES else ratio
    return LogRatios(main, ttft)


def fit(
    start: Point,
    reproductions: Sequence[Reproduction],
    source: str,
    *,
    evaluations: int = 8,
    progress: Callable[[], None] | None = None,
) -> Point:
    """Return the point near `start` at which simulations meet the measurements best.

    Non-linear least squares (trust region, SciPy) on the logarithms of the
    PARAMETERS within their bounds; residuals are ln(predicted / observed),
    softened beyond :data:`ROBUST_SHARE`; each parameter is held to its start as
    by a prior of a factor of two.

    Parameters
    ----------
    start : Point
        Where the fit begins, and its prior.
    reproductions : sequence of Reproduction
        Measurements of one chip and engine.
    source : str
        What the fitted numbers give as their source.
    evaluations : int
        Iterations at most; each simulates every measurement once per parameter.
    progress : callable, optional
        Called after each simulation of all measurements.
    """
    low = np.array([parameter.low for parameter in PARAMETERS])
    high = np.array([parameter.high for parameter in PARAMETERS])
    prior = start.numbers
    # What is zero by definition (an engine without overheads) is not fitted.
    matters = _matters(reproductions) & (prior > 0.0)
    prior[matters] = np.clip(prior, low * 1.001, high / 1.001)[matters]
    main_weights, ttft_weights = _weights(reproductions)

    def numbers(x: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = prior.copy()
        moved[matters] *= np.exp(x - _ORIGIN)
        return moved

    def residuals(x: NDArray[np.float64]) -> NDArray[np.float64]:
        ratios = evaluate(start.moved(numbers(x), source), reproductions)
        if progress is not None:
            progress()
        held = PRIOR_SHARE / math.log(2.0) * (x - _ORIGIN)
        return np.concatenate(
            [np.nan_to_num(ratios.main) * main_weights, np.nan_to_num(ratios.ttft) * ttft_weights, held]
        )

    solution = least_squares(
        residuals,
        np.full(int(matters.sum()), _ORIGIN),
        bounds=(_ORIGIN + np.log(low / prior)[matters], _ORIGIN + np.log(high / prior)[matters]),
        loss="soft_l1",
        f_scale=ROBUST_SHARE,
        diff_step=[DERIVATIVE_STEP / _ORIGIN] * int(matters.sum()),
        max_nfev=evaluations,
    )
    return start.moved(numbers(solution.x), source)


def _matters(reproductions: Sequence[Reproduction]) -> NDArray[np.bool_]:
    """Return which PARAMETERS any of the measurements depends on; the others keep their prior."""
    deployments = [reproduction.plan.pools[0].deployment for reproduction in reproductions]
    experts = any(each.model.moe is not None for each in deployments)
    several = any(each.parallelism.tensor > 1 for each in deployments)
    four_bit = any(
        not FOUR_BIT.isdisjoint((each.precision.weights, each.precision.activations, *each.precision.of_experts))
        for each in deployments
    )
    needed = {
        "expert_compute": experts,
        "expert_memory": experts,
        "expert_layer": experts,
        "link": several,
        "collective": several,
        "four_bit_compute": four_bit,
        "four_bit_memory": four_bit,
    }
    return np.array([needed.get(parameter.name, True) for parameter in PARAMETERS])


def _weights(reproductions: Sequence[Reproduction]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights of main figure and TTFT: a model measured often counts more than another, by the root."""
    models = [reproduction.measurement.setup.model for reproduction in reproductions]
    names, counts = np.unique(models, return_counts=True)
    balance = {name: math.sqrt(counts.mean() / count) for name, count in zip(names, counts, strict=True)}
    main, ttft = np.zeros(len(reproductions)), np.zeros(len(reproductions))
    for i, reproduction in enumerate(reproductions):
        for target in targets(reproduction):
            column = ttft if target.metric == "ttft_s" else main
            column[i] = target.weight * balance[models[i]]
    return main, ttft
