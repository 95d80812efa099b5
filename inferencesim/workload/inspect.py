"""What a trace looks like: rate, burstiness, lengths and prefix reuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.workload.traces.spread import zero_gap_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.workload.traces.record import BlockHashes, Trace


@dataclass(frozen=True)
class LengthSummary:
    """Mean, quantiles and maximum of a column of lengths, in tokens."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: int


@dataclass(frozen=True)
class TraceReport:
    """What :func:`inspect_trace` finds.

    Parameters
    ----------
    source, format : str
        Where it is from.
    rows, malformed, failed : int
        Usable rows, malformed rows, and rows of failed requests; only the first are described.
    span_s, rate_per_s : float
        Last arrival − first, and gaps per second of it; the rate is NaN where all rows share one instant.
    interarrival_cv : float
        Standard deviation / mean of the gaps: 1 for Poisson. NaN below two gaps.
    dispersion_1s, dispersion_10s, dispersion_60s : float
        Variance / mean of the counts in whole windows of that length: 1 for
        Poisson at any length. NaN where the trace has fewer than two windows.
    zero_gap_share : float
        Share of gaps that are zero; more than half means quantised timestamps.
    prompt_tokens, output_tokens : LengthSummary
        Lengths.
    correlation : float
        Pearson's correlation of prompt and output tokens; NaN where one is constant.
    prefix_reuse_share : float or None
        Prompt tokens found in an unlimited cache / prompt tokens; None without hashes.
    notes : tuple of str
        What the reader had to assume.
    """

    source: str
    format: str
    rows: int
    malformed: int
    failed: int
    span_s: float
    rate_per_s: float
    interarrival_cv: float
    dispersion_1s: float
    dispersion_10s: float
    dispersion_60s: float
    zero_gap_share: float
    prompt_tokens: LengthSummary
    output_tokens: LengthSummary
    correlation: float
    prefix_reuse_share: float | None
    notes: tuple[str, ...]


def inspect_trace(trace: Trace) -> TraceReport:
    """Describe a trace as its timestamps stand, not spread out."""
    span_s = float(trace.time_s[-1] - trace.time_s[0])
    return TraceReport(
        source=trace.source,
        format=trace.format,
        rows=len(trace),
        malformed=len(trace.malformed),
        failed=trace.failed,
        span_s=span_s,
        rate_per_s=(len(trace) - 1) / span_s if span_s > 0 else float("nan"),
        interarrival_cv=interarrival_cv(trace.time_s),
        dispersion_1s=dispersion(trace.time_s, 1.0),
        dispersion_10s=dispersion(trace.time_s, 10.0),
        dispersion_60s=dispersion(trace.time_s, 60.0),
        zero_gap_share=zero_gap_share(trace.time_s),
        prompt_tokens=_summary(trace.prompt_tokens),
        output_tokens=_summary(trace.output_tokens),
        correlation=_correlation(trace.prompt_tokens, trace.output_tokens),
        prefix_reuse_share=None if trace.blocks is None else prefix_reuse_share(trace.blocks, trace.prompt_tokens),
        notes=trace.notes,
    )


def interarrival_cv(time_s: NDArray[np.float64]) -> float:
    """Return standard deviation / mean of the gaps, NaN where there are fewer than two or all are zero."""
    gaps = np.diff(time_s)
    if gaps.size < 2 or not gaps.any():
        return float("nan")
    return float(gaps.std() / gaps.mean())


def dispersion(time_s: NDArray[np.float64], window_s: float) -> float:
    """Return the index of dispersion of counts in whole windows from the first arrival on."""
    since_first = time_s - time_s[0]
    windows = int(since_first[-1] // window_s)
    if windows < 2:
        return float("nan")
    inside = since_first[since_first < windows * window_s]
    counts = np.bincount(np.minimum((inside / window_s).astype(np.int64), windows - 1), minlength=windows)
    return float(counts.var() / counts.mean())


def prefix_reuse_share(blocks: BlockHashes, prompt_tokens: NDArray[np.int64]) -> float:
    """Return prompt tokens found in an unlimited prefix cache / prompt tokens.

    Requests come in order; each finds its leading blocks up to the first that
    no earlier request had, then adds all of its own. Only full blocks count:
    a partial last block is neither found nor kept.
    """
    ids = blocks.numbered().values
    seen = np.zeros(int(ids.max(initial=-1)) + 1, dtype=np.bool_)
    found = 0
    full = np.minimum(np.diff(blocks.offsets), prompt_tokens // blocks.block_size)
    for first, count in zip(blocks.offsets[:-1].tolist(), full.tolist(), strict=True):
        own = ids[first : first + count]
        known = seen[own]
        found += count if known.all() else int(known.argmin())
        seen[own] = True
    return found * blocks.block_size / int(prompt_tokens.sum())


def _summary(tokens: NDArray[np.int64]) -> LengthSummary:
    p50, p95, p99 = (float(value) for value in np.percentile(tokens, (50, 95, 99)))
    return LengthSummary(mean=float(tokens.mean()), p50=p50, p95=p95, p99=p99, max=int(tokens.max()))


def _correlation(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    if len(first) < 2 or first.min() == first.max() or second.min() == second.max():
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
