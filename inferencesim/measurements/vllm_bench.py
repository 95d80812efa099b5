"""Results of ``vllm bench serve --save-result`` (and of ``benchmark_serving.py`` before it).

One JSON object per run, or several in one file with ``--append-result``. Means
are over all requests; TPOT excludes the first token. Lengths are those that were
seen: their spread only with ``--save-detailed``, else fixed at the mean.
Source: ``vllm/benchmarks/serve.py``.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError
from inferencesim.measurements.contents import Contents, figure
from inferencesim.measurements.measurement import (
    MeasuredLoad,
    Measurement,
    Metric,
    Readings,
    TokenRange,
    Unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferencesim.measurements.defaults import Defaults

_MARKS = {"mean_ttft_ms", "total_input_tokens", "total_output_tokens", "completed"}
_FIGURES: dict[str, tuple[Metric, float]] = {
    "mean_ttft_ms": ("ttft_s", 1e-3),
    "mean_tpot_ms": ("tpot_s", 1e-3),
    "mean_e2el_ms": ("e2e_s", 1e-3),
    "output_throughput": ("output_tokens_per_s", 1.0),
    "total_token_throughput": ("total_tokens_per_s", 1.0),
    "request_throughput": ("requests_per_s", 1.0),
}


class VllmBench:
    """Reads the saved results of vLLM's benchmark client."""

    def sniff(self, contents: Contents) -> bool:
        """Say whether the first object has the figures this client writes."""
        return bool(contents.documents) and contents.documents[0].keys() >= _MARKS

    def read(self, contents: Contents, defaults: Defaults) -> Readings:
        """Read every run.

        Raises
        ------
        InputError
            If something is in neither the file nor the defaults.
        """
        runs = [_read(contents, number, defaults) for number in range(len(contents.documents))]
        return Readings(
            tuple(run for run in runs if isinstance(run, Measurement)),
            tuple(run for run in runs if isinstance(run, Unsupported)),
            len(runs),
        )


def _read(contents: Contents, number: int, defaults: Defaults) -> Measurement | Unsupported:
    document = contents.documents[number]
    place = str(contents.path) if len(contents.documents) == 1 else f"{contents.path}, result {number + 1}"
    setup = defaults.for_model(document.get("model_id")).setup(place)
    name = f"{contents.path.stem}:{number + 1}"
    completed = int(figure(document, "completed") or 0)
    reason = _refusal(document, completed)
    if reason:
        return Unsupported(name, "vllm-bench", setup.hardware, setup.model, setup.engine, reason)
    observed: dict[Metric, float] = {}
    for key, (metric, unit) in _FIGURES.items():
        value = figure(document, key)
        if value is not None:
            observed[metric] = value * unit
    return Measurement(name, "vllm-bench", place, setup, _load(document, completed, place), observed)


def _refusal(document: dict[str, Any], completed: int) -> str:
    """Return why a run cannot be reproduced; empty if it can."""
    prompts = int(figure(document, "num_prompts") or completed)
    rate, concurrency = figure(document, "request_rate"), figure(document, "max_concurrency")
    if not completed:
        return "no request completed"
    if completed < prompts:
        return "requests failed"
    if rate and concurrency and concurrency < prompts:
        return "open loop with a cap on concurrency"
    if rate and (figure(document, "burstiness") or 1.0) != 1.0:
        return "arrivals are not Poisson"
    return ""


def _load(document: dict[str, Any], completed: int, place: str) -> MeasuredLoad:
    prompt = _lengths(document.get("input_lens"), figure(document, "total_input_tokens"), completed, place)
    output = _lengths(document.get("output_lens"), figure(document, "total_output_tokens"), completed, place)
    rate, concurrency = figure(document, "request_rate"), figure(document, "max_concurrency")
    if rate:
        return MeasuredLoad("open", prompt, output, requests=completed, rate_per_s=rate)
    if concurrency:
        return MeasuredLoad("closed", prompt, output, concurrency=int(concurrency), requests=completed)
    return MeasuredLoad("offline", prompt, output, requests=completed)


def _lengths(each: Sequence[int] | None, total: float | None, completed: int, place: str) -> TokenRange:
    """Return lengths as they were seen, or their mean."""
    if each:
        return TokenRange.around(statistics.fmean(each), statistics.pstdev(each))
    if not total:
        raise InputError(place, "no tokens were counted", "Export a run whose server counted its tokens.")
    return TokenRange.around(total / completed)
