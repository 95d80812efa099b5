"""Arrival times of the open-loop processes: a unit-rate process, warped through the rate profile; or all at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from inferencesim.errors import InputError
from inferencesim.registry import Registry
from inferencesim.scenario.arrivals import AtOnce, Gamma, Poisson, RegisteredArrivals
from inferencesim.workload.profiles import intensity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.scenario.workload import Active

#: The processes whose arrivals are points of a clock of their own, warped into time by their rate.
RateProcess = Poisson | Gamma | RegisteredArrivals


class UnitProcess(Protocol):
    """Arrivals at mean rate one on an abstract clock."""

    def __call__(self, spec: RateProcess, total: float, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return the sorted points in [0, `total`); those below any smaller total must be the same."""


#: Arrival processes by id.
PROCESSES: Registry[UnitProcess] = Registry("arrival process", "inferencesim.arrival_processes")


#: Arrivals of one class beyond which the load would not fit into the memory of a large machine (80 bytes each).
MOST_ARRIVALS = 5e8


def arrival_times(
    spec: RateProcess | AtOnce,
    active: Active,
    horizon_s: float,
    generator: np.random.Generator,
    where: str = "arrivals",
) -> NDArray[np.float64]:
    """Return the arrival times of one class.

    A burst arrives when its class becomes active. Of the other processes, a
    point at x of the unit-rate process arrives at ``Λ⁻¹(Λ(from) + x/rate)``,
    the exact time change of a point process (Çinlar 1975, "Introduction to
    Stochastic Processes", ch. 4.7), where Λ is the integral of the profile.

    Parameters
    ----------
    spec : AtOnce, Poisson, Gamma or RegisteredArrivals
        The process, its rate in 1/s and its profile; or the number of a burst.
    active : Active
        When the class exists; the process starts at its beginning.
    horizon_s : float
        Arrivals stop here, in seconds.
    generator : numpy.random.Generator
        The class's stream of arrivals. A longer horizon only adds arrivals.
    where : str
        Place of the arrivals, named in errors.

    Returns
    -------
    numpy.ndarray
        Shape (n,), float64, seconds, sorted, in [from, min(to, horizon)).

    Raises
    ------
    InputError
        If no process of that name is registered, or there are more arrivals than memory holds.
    """
    begin_s = active.from_s
    end_s = horizon_s if active.to_s is None else min(active.to_s, horizon_s)
    if isinstance(spec, AtOnce):
        _check_memory(spec.requests, horizon_s, f"{where}.requests")
        return np.full(spec.requests if begin_s < end_s else 0, begin_s)
    process = PROCESSES.get(spec.process, f"{where}.process")
    if end_s <= begin_s:
        return np.empty(0, dtype=np.float64)
    rate_profile = intensity(spec.profile, end_s)
    first, last = (float(level) for level in rate_profile.cumulative(np.array([begin_s, end_s])))
    expected = (last - first) * spec.rate
    _check_memory(expected, horizon_s, f"horizon and {where}.rate")
    points = process(spec, expected, generator)
    times = rate_profile.inverse(first + points / spec.rate)
    # Rounding in the inverse may put the last point on the end itself, which is outside.
    return np.asarray(times[(times >= begin_s) & (times < end_s)])


def _check_memory(expected: float, horizon_s: float, where: str) -> None:
    if expected > MOST_ARRIVALS:
        what = f"about {expected:.3g} arrivals within a horizon of {horizon_s:g} s are more than memory holds"
        remedy = f"Ask for fewer, or for a shorter horizon; a class may have {MOST_ARRIVALS:.0e} arrivals."
        raise InputError(where, what, remedy)


@PROCESSES.register("poisson")
def poisson_points(spec: RateProcess, total: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return points with exponential gaps of mean one."""
    del spec

    def gaps(n: int) -> NDArray[np.float64]:
        return generator.standard_exponential(n)

    return _accumulate(0.0, gaps, 1.0, total)


@PROCESSES.register("gamma")
def gamma_points(spec: RateProcess, total: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return points with gamma gaps of mean one and the stated coefficient of variation.

    The process is in equilibrium from the start, so that its mean rate is the
    stated one over any window: the first gap is the residual life, a uniform
    share of a length-biased gap (Cox 1962, "Renewal Theory", ch. 5), which for
    a gamma of shape k is a gamma of shape k + 1.
    """
    if not isinstance(spec, Gamma):
        msg = f"the gamma process needs its own parameters, not {spec!r}"
        raise TypeError(msg)
    shape = 1.0 / spec.cv**2
    residual = float(generator.random() * generator.standard_gamma(shape + 1.0) / shape)

    def gaps(n: int) -> NDArray[np.float64]:
        return generator.standard_gamma(shape, n) / shape

    return _accumulate(residual, gaps, spec.cv, total, first_is_point=True)


class _Gaps(Protocol):
    def __call__(self, n: int) -> NDArray[np.float64]: ...


def _accumulate(
    start: float, gaps: _Gaps, cv: float, total: float, *, first_is_point: bool = False
) -> NDArray[np.float64]:
    """Add up gaps from `start` until `total` is passed."""
    pieces = [np.array([start])] if first_is_point else []
    reached = start
    while reached < total:
        missing = total - reached
        # Five standard deviations of the count spare a second round nearly always.
        block = gaps(int(missing + 5.0 * max(cv, 1.0) * math.sqrt(missing)) + 16)
        block[0] += reached
        points = np.cumsum(block)
        pieces.append(points)
        reached = float(points[-1])
    merged = np.concatenate(pieces) if pieces else np.empty(0, dtype=np.float64)
    return merged[: np.searchsorted(merged, total, side="left")]
