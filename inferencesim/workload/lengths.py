"""Samplers and means of length distributions, of tokens and of times."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from inferencesim.registry import Registry
from inferencesim.scenario.lengths import Fixed, Histogram, Lengths, Lognormal, RegisteredDistribution, Uniform

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LengthDistribution(Protocol):
    """What another package registers to add a distribution."""

    def sample(self, parameters: dict[str, Any], n: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return `n` lengths; the first k of n must equal those drawn for k alone."""

    def mean(self, parameters: dict[str, Any]) -> float:
        """Return the expected length."""


#: Length distributions of other packages.
DISTRIBUTIONS: Registry[LengthDistribution] = Registry("length distribution", "inferencesim.length_distributions")

#: Draws from a distribution of another package that stand for it where its quantiles are asked for.
_SAMPLE = 2**16


def sample(spec: Lengths, n: int, generator: np.random.Generator, where: str = "distribution") -> NDArray[np.int64]:
    """Draw `n` token counts.

    Each draw uses the stream in its turn, so that the i-th does not depend on `n`.

    Parameters
    ----------
    spec : Lengths
        The distribution.
    n : int
        How many.
    generator : numpy.random.Generator
        The stream.
    where : str
        Place named if the distribution is unknown.

    Returns
    -------
    numpy.ndarray
        Shape (n,), int64, tokens, each at least 1; continuous distributions are rounded to the nearest token.

    Raises
    ------
    InputError
        If no distribution of that name is registered.
    """
    if isinstance(spec, Uniform):
        low, high = round(spec.low), round(spec.high)
        drawn = low + np.floor(generator.random(n) * (high - low + 1))
        return np.maximum(drawn.astype(np.int64), 1)
    rounded = np.rint(_sample(spec, n, generator, where)).astype(np.int64)
    return np.maximum(rounded, 1, out=rounded)


def sample_seconds(
    spec: Lengths, n: int, generator: np.random.Generator, where: str = "distribution"
) -> NDArray[np.float64]:
    """Draw `n` times in seconds, shape (n,), each at least 0; the i-th does not depend on `n`."""
    return np.maximum(_sample(spec, n, generator, where), 0.0)


def _sample(spec: Lengths, n: int, generator: np.random.Generator, where: str) -> NDArray[np.float64]:
    if isinstance(spec, Fixed):
        return np.full(n, float(spec.value))
    if isinstance(spec, Uniform):
        return _uniform_at(spec, generator.random(n))
    if isinstance(spec, Lognormal):
        return _lognormal_at(spec, generator.standard_normal(n))
    if isinstance(spec, Histogram):
        return _histogram_at(spec, generator.random(n))
    entry = DISTRIBUTIONS.get(spec.distribution, where)
    return np.asarray(entry.sample(spec.parameters, n, generator), dtype=np.float64)


def quantiles(spec: Lengths, shares: NDArray[np.float64], where: str = "distribution") -> NDArray[np.float64]:
    """Return the inverse of a distribution's cumulative share, in the unit of `spec`, at `shares` in (0, 1).

    Exact, but for a distribution of another package: there the quantiles of a fixed sample of it.

    Raises
    ------
    InputError
        If no distribution of that name is registered, at `where`.
    """
    if isinstance(spec, Fixed):
        return np.full(shares.size, float(spec.value))
    if isinstance(spec, Uniform):
        return _uniform_at(spec, shares)
    if isinstance(spec, Lognormal):
        return _lognormal_at(spec, np.array([NormalDist().inv_cdf(share) for share in shares]))
    if isinstance(spec, Histogram):
        return _histogram_at(_ascending(spec), shares)
    drawn = _sample(spec, _SAMPLE, np.random.Generator(np.random.PCG64(0)), where)
    return np.asarray(np.quantile(drawn, shares), dtype=np.float64)


def _uniform_at(spec: Uniform[float], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return spec.low + shares * (spec.high - spec.low)


def _lognormal_at(spec: Lognormal[float], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values at standard normal deviates."""
    values = np.exp(math.log(spec.median) + spec.log_sigma * normal)
    if spec.min is not None or spec.max is not None:
        values = np.clip(values, spec.min, spec.max)
    return values


def _ascending(spec: Histogram[float]) -> Histogram[float]:
    """Return a histogram whose values, if it has any, ascend."""
    if spec.values is None:
        return spec
    values, weights = zip(*sorted(zip(spec.values, spec.weights, strict=True)), strict=True)
    return spec.model_copy(update={"values": values, "weights": weights})


def _histogram_at(spec: Histogram[float], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    cumulative = np.concatenate(([0.0], np.cumsum(spec.weights)))
    cumulative /= cumulative[-1]
    # The last bin with weight closes the range, even if later ones weigh nothing.
    last = int(np.flatnonzero(spec.weights)[-1])
    bins = np.minimum(np.searchsorted(cumulative, shares, side="right") - 1, last)
    if spec.values is not None:
        return np.asarray(spec.values, dtype=np.float64)[bins]
    edges = np.asarray(spec.edges, dtype=np.float64)
    within = (shares - cumulative[bins]) / (cumulative[bins + 1] - cumulative[bins])
    return np.asarray(edges[bins] + within * (edges[bins + 1] - edges[bins]))


def mean(spec: Lengths) -> float:
    """Return the expected length, in the unit of `spec`.

    Exact for fixed, uniform and weighted values; for the continuous ones it
    is the mean before rounding to whole tokens, which moves it by less than
    half a token. Bounds of a lognormal are taken into account:
    ``E[clip(X, a, b)] = a P(X<a) + E[X; a≤X≤b] + b P(X>b)``, with the partial
    expectation ``exp(μ+σ²/2) [Φ(β−σ) − Φ(α−σ)]`` of the lognormal.
    """
    if isinstance(spec, Fixed):
        return float(spec.value)
    if isinstance(spec, Uniform):
        return (spec.low + spec.high) / 2
    if isinstance(spec, Lognormal):
        return _clipped_lognormal_mean(spec)
    if isinstance(spec, Histogram):
        weights = np.asarray(spec.weights, dtype=np.float64)
        if spec.values is not None:
            points = np.asarray(spec.values, dtype=np.float64)
        else:
            edges = np.asarray(spec.edges, dtype=np.float64)
            points = (edges[:-1] + edges[1:]) / 2
        return float(weights @ points / weights.sum())
    if isinstance(spec, RegisteredDistribution):
        return DISTRIBUTIONS.get(spec.distribution, "distribution").mean(spec.parameters)
    msg = f"no mean is known for {spec!r}"
    raise TypeError(msg)


def _clipped_lognormal_mean(spec: Lognormal[float]) -> float:
    mu, sigma = math.log(spec.median), spec.log_sigma
    if sigma == 0:
        low = spec.median if spec.min is None else max(spec.median, spec.min)
        return low if spec.max is None else min(low, spec.max)
    low = 0.0 if spec.min is None else spec.min
    alpha = (math.log(low) - mu) / sigma if low > 0 else -math.inf
    beta = math.inf if spec.max is None or spec.max <= 0 else (math.log(spec.max) - mu) / sigma
    inside = math.exp(mu + sigma**2 / 2) * (_normal_cdf(beta - sigma) - _normal_cdf(alpha - sigma))
    above = 0.0 if spec.max is None else spec.max * (1 - _normal_cdf(beta))
    return low * _normal_cdf(alpha) + inside + above


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
