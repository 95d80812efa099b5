"""Fitting a workload class to a trace, with the error of the fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.errors import InputError
from inferencesim.scenario.lengths import Histogram, Lognormal
from inferencesim.workload.inspect import interarrival_cv
from inferencesim.workload.lengths import mean
from inferencesim.workload.traces.spread import QUANTISED_SHARE, spread_batches, zero_gap_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from inferencesim.workload.traces.record import Trace

#: A lognormal is used where its mean is within this share of the trace's.
MEAN_TOLERANCE = 0.05

#: Interarrival CVs in this range are called Poisson.
POISSON_CV = (0.9, 1.15)

_QUANTILES = (0, 1, 2.5, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 97.5, 99, 99.5, 100)


def fit_class(trace: Trace, name: str = "fitted", models: Sequence[str] = ("llama-3.1-70b",)) -> str:
    """Write a workload class that resembles a trace.

    Rate and CV of the gaps make the arrivals: Poisson where the CV is near 1,
    gamma otherwise. Lengths are lognormal, by the moments of the logarithm or
    else by median and p95, where that gives the trace's mean within
    :data:`MEAN_TOLERANCE`; otherwise a histogram between quantiles, or the
    weighted means of its bins. What a
    fit cannot keep (slow modulation of the rate, correlation of lengths,
    sessions, prefixes) is not in it.

    Parameters
    ----------
    trace : Trace
        At least two rows, not all at one instant.
    name, models : str, sequence of str
        Of the class; a trace knows neither.

    Returns
    -------
    str
        YAML of one class, for the list under ``workload``. The generated load
        has the trace's rate in expectation, and its mean lengths within
        :data:`MEAN_TOLERANCE`; the comments state each error.

    Raises
    ------
    InputError
        If the trace has no span from which a rate would follow.
    """
    import yaml

    span_s = float(trace.time_s[-1] - trace.time_s[0])
    if not span_s > 0:
        raise InputError(trace.source, "all rows share one instant", "A rate needs at least two instants.")
    rate = (len(trace) - 1) / span_s
    quantised = zero_gap_share(trace.time_s) > QUANTISED_SHARE
    cv = interarrival_cv(spread_batches(trace.time_s, "auto", 0, trace.source))
    lines = [f"# Fitted to {len(trace)} rows over {span_s:.6g} s of {trace.source}."]
    if quantised:
        lines.append("# Its timestamps are quantised: the CV is that of the rows spread between them.")
    if math.isnan(cv) or POISSON_CV[0] <= cv <= POISSON_CV[1]:
        arrivals: dict[str, object] = {"process": "poisson", "rate": _rounded(rate)}
        lines.append(f"# Poisson arrivals: interarrival CV {cv:.3g}.")
    else:
        arrivals = {"process": "gamma", "rate": _rounded(rate), "cv": _rounded(min(max(cv, 1e-3), 100.0))}
        # Asymptotic variance of a renewal count: Cox 1962, "Renewal Theory", ch. 4.
        error = min(cv, 100.0) / math.sqrt(len(trace))
        lines.append(f"# Gamma arrivals: CV {cv:.3g}; over such a span the rate varies by ±{error:.1%} (1 sigma).")
    fitted: dict[str, object] = {"name": name, "arrivals": arrivals}
    for column, tokens in (("prompt_tokens", trace.prompt_tokens), ("output_tokens", trace.output_tokens)):
        spec, comment = _fit_lengths(tokens)
        fitted[column] = spec
        lines.append(f"# {column}: {comment}")
    fitted["models"] = list(models)
    return "\n".join(lines) + "\n" + yaml.safe_dump(fitted, sort_keys=False, default_flow_style=None, width=100)


def _fit_lengths(tokens: NDArray[np.int64]) -> tuple[object, str]:
    low, high, true_mean = int(tokens.min()), int(tokens.max()), float(tokens.mean())
    if low == high:
        return low, "always the same."
    logarithms = np.log(tokens)
    median, p95 = (float(value) for value in np.percentile(tokens, (50, 95)))
    candidates: list[tuple[str, dict[str, object]]] = [
        (
            "moments of the logarithm",
            {
                "median": _rounded(float(np.exp(logarithms.mean()))),
                "sigma": _rounded(float(logarithms.std())),
            },
        ),
        ("median and p95", {"median": _rounded(median), "p95": _rounded(p95)}),
    ]
    for how, parameters in candidates:
        spec = {"distribution": "lognormal", **parameters, "min": low, "max": high}
        error = mean(Lognormal[float].model_validate(spec)) / true_mean - 1.0
        if abs(error) <= MEAN_TOLERANCE:
            return spec, f"lognormal by {how}; mean {error:+.1%} against the trace."
    edges = np.unique(np.percentile(tokens, _QUANTILES))
    # Half a token outwards, so that rounding reaches both ends as often as the values between.
    edges[0], edges[-1] = edges[0] - 0.5, edges[-1] + 0.5
    counts, _ = np.histogram(tokens, bins=edges)
    histogram: dict[str, object] = {
        "distribution": "histogram",
        "edges": [_rounded(float(edge)) for edge in edges],
        "weights": [int(count) for count in counts],
    }
    error = mean(Histogram[float].model_validate(histogram)) / true_mean - 1.0
    if abs(error) <= MEAN_TOLERANCE:
        return (
            histogram,
            f"histogram, since no lognormal keeps the mean; mean {error:+.1%} against the trace.",
        )
    # A long tail within one bin is not spread evenly: the mean of each bin, instead, keeps the whole mean.
    bins = np.clip(np.searchsorted(edges, tokens, side="right") - 1, 0, len(counts) - 1)
    filled = np.flatnonzero(counts)
    sums = np.bincount(bins, weights=tokens, minlength=len(counts))
    weighted: dict[str, object] = {
        "distribution": "histogram",
        "values": [_rounded(float(value)) for value in sums[filled] / counts[filled]],
        "weights": [int(count) for count in counts[filled]],
    }
    error = mean(Histogram[float].model_validate(weighted)) / true_mean - 1.0
    return (
        weighted,
        f"means of quantile bins, since neither lognormal nor histogram keeps the mean ({error:+.1%}).",
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
