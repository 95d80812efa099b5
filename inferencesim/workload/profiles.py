"""Rate profiles as cumulative intensities: ``Λ(t) = ∫₀ᵗ factor(u) du``, and its inverse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from inferencesim.scenario.arrivals import Burst, Diurnal, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Intensity(Protocol):
    """A rate profile between time zero and an end."""

    def cumulative(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Λ at each time, in seconds of mean rate."""

    def inverse(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the time at which Λ reaches each of the sorted levels, in seconds."""


class Flat:
    """No profile: Λ(t) = t."""

    def cumulative(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `time_s`."""
        return time_s

    def inverse(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `level`."""
        return level


class Sinusoid:
    """``1 + a cos(2π (t − peak)/period)`` with ``a = (r − 1)/(r + 1)`` for a peak-to-trough ratio r."""

    def __init__(self, spec: Diurnal) -> None:
        self._amplitude = (spec.peak_to_trough - 1.0) / (spec.peak_to_trough + 1.0)
        self._omega = 2.0 * np.pi / spec.period
        self._phase = self._omega * spec.peak_at
        self._period = spec.period
        self._table_times = np.linspace(0.0, spec.period, 4097)
        self._table_levels = self.cumulative(self._table_times)

    def cumulative(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``t + (a/ω) [sin(ωt − φ) + sin φ]``."""
        swing = np.sin(self._omega * time_s - self._phase) + np.sin(self._phase)
        return np.asarray(time_s + self._amplitude / self._omega * swing)

    def inverse(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Λ⁻¹ by Newton's method from a table of one period, to rounding error.

        The slope lies in [1 − a, 1 + a] with a < 1, so that Λ⁻¹ exists, and a
        whole period adds exactly its own length. Table and number of
        iterations are fixed: the result of one level does not depend on what
        else is asked for.
        """
        whole = np.floor(level / self._period)
        rest = level - whole * self._period
        time_s = np.interp(rest, self._table_levels, self._table_times)
        # The table is off by at most period/4096; four squarings of that are below rounding.
        for _ in range(4):
            slope = 1.0 + self._amplitude * np.cos(self._omega * time_s - self._phase)
            time_s = time_s - (self.cumulative(time_s) - rest) / slope
        # Levels closer than rounding error may come out reversed.
        return np.maximum.accumulate(whole * self._period + time_s) if level.size else time_s


class Steps:
    """A factor that is constant between breakpoints: Λ is piecewise linear, so both directions are exact."""

    def __init__(self, times: NDArray[np.float64], factors: NDArray[np.float64]) -> None:
        self._times = times
        self._factors = factors
        self._levels = np.concatenate(([0.0], np.cumsum(np.diff(times) * factors[:-1])))

    def cumulative(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Λ, linear within each step."""
        step = np.searchsorted(self._times, time_s, side="right") - 1
        return np.asarray(self._levels[step] + (time_s - self._times[step]) * self._factors[step])

    def inverse(self, level: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return Λ⁻¹; steps of factor zero are jumped over."""
        # Where Λ is flat several steps share one level: the last of them is the one in which it rises again.
        step = np.searchsorted(self._levels, level, side="right") - 1
        rising = np.where(self._factors[step] > 0, self._factors[step], 1.0)
        return np.asarray(self._times[step] + (level - self._levels[step]) / rising)


def intensity(profile: Diurnal | Burst | Table | None, end_s: float) -> Intensity:
    """Return the cumulative intensity of a profile, valid in [0, `end_s`]."""
    if profile is None:
        return Flat()
    if isinstance(profile, Diurnal):
        return Sinusoid(profile)
    if isinstance(profile, Burst):
        return _bursts(profile, end_s)
    return _table(profile, end_s)


def _bursts(profile: Burst, end_s: float) -> Steps:
    count = 1 if profile.every is None else 1 + max(0, int((end_s - profile.start) // profile.every))
    starts = profile.start + np.arange(count) * (profile.every or 0.0)
    times = np.concatenate(([0.0], np.stack((starts, starts + profile.length), axis=1).ravel()))
    factors = np.concatenate(([1.0], np.tile((profile.factor, 1.0), count)))
    # A burst at time zero, or one that meets the next, leaves steps of no length; they change nothing.
    return Steps(times, factors)


def _table(profile: Table, end_s: float) -> Steps:
    times, factors = (
        np.asarray(profile.times, dtype=np.float64),
        np.asarray(profile.factors, dtype=np.float64),
    )
    if profile.period is None:
        return Steps(times, factors)
    count = 1 + int(end_s // profile.period)
    shifted = (np.arange(count)[:, None] * profile.period + times[None, :]).ravel()
    return Steps(shifted, np.tile(factors, count))
