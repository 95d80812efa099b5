"""Results of GuideLLM (``benchmarks.json``), version 0.2 and later.

A file holds one benchmark per load. Figures are those of successful requests.
GuideLLM's ``time_per_output_token_ms`` counts the first token too; what this
project calls TPOT is its ``inter_token_latency_ms``.
Source: ``guidellm/benchmark/schemas`` and ``guidellm/scheduler/strategies.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError
from inferencesim.measurements.contents import Contents, dig, figure
from inferencesim.measurements.measurement import (
    MeasuredLoad,
    Measurement,
    Metric,
    Readings,
    TokenRange,
    Unsupported,
)

if TYPE_CHECKING:
    from inferencesim.measurements.defaults import Defaults

_FIGURES: dict[str, tuple[Metric, float]] = {
    "time_to_first_token_ms": ("ttft_s", 1e-3),
    "inter_token_latency_ms": ("tpot_s", 1e-3),
    "request_latency": ("e2e_s", 1.0),
    "output_tokens_per_second": ("output_tokens_per_s", 1.0),
    "tokens_per_second": ("total_tokens_per_s", 1.0),
    "requests_per_second": ("requests_per_s", 1.0),
}
#: Where versions have put the same thing.
_STRATEGY = (("config", "strategy"), ("args", "strategy"), ("scheduler", "strategy"))
_MODEL = (("config", "backend", "model"), ("worker", "backend_model"), ("args", "model"))
_SUCCESSFUL = (
    ("metrics", "request_totals", "successful"),
    ("request_totals", "successful"),
    ("scheduler_metrics", "requests_made", "successful"),
    ("run_stats", "requests_made", "successful"),
)


class GuideLlm:
    """Reads the JSON report of GuideLLM."""

    def sniff(self, contents: Contents) -> bool:
        """Say whether there is a list of benchmarks with GuideLLM's metrics."""
        benchmarks = _benchmarks(contents)
        return bool(benchmarks) and dig(benchmarks[0], "metrics", "time_to_first_token_ms") is not None

    def read(self, contents: Contents, defaults: Defaults) -> Readings:
        """Read every benchmark.

        Raises
        ------
        InputError
            If something is in neither the file nor the defaults.
        """
        runs = [_read(contents, number, defaults) for number in range(len(_benchmarks(contents)))]
        return Readings(
            tuple(run for run in runs if isinstance(run, Measurement)),
            tuple(run for run in runs if isinstance(run, Unsupported)),
            len(runs),
        )


def _benchmarks(contents: Contents) -> list[Any]:
    found = dig(contents.documents[0], "benchmarks") if contents.documents else None
    return found if isinstance(found, list) else []


def _read(contents: Contents, number: int, defaults: Defaults) -> Measurement | Unsupported:
    benchmark = _benchmarks(contents)[number]
    place = f"{contents.path}, benchmark {number + 1}"
    model = _first(benchmark, _MODEL) or dig(contents.documents[0], "args", "model")
    setup = defaults.for_model(model).setup(place)
    name = f"{contents.path.stem}:{number + 1}"
    requests = int(_first(benchmark, _SUCCESSFUL) or 0)
    strategy = _first(benchmark, _STRATEGY)
    load = _load(strategy, requests, _tokens(benchmark, "prompt", place), _tokens(benchmark, "output", place))
    if load is None:
        reason = f"load {dig(strategy, 'type_') or 'not stated'} is not modelled"
        return Unsupported(name, "guidellm", setup.hardware, setup.model, setup.engine, reason)
    observed: dict[Metric, float] = {}
    for key, (metric, unit) in _FIGURES.items():
        value = figure(benchmark, "metrics", key, "successful", "mean")
        if value is not None:
            observed[metric] = value * unit
    return Measurement(name, "guidellm", place, setup, load, observed)


def _load(strategy: object, requests: int, prompt: TokenRange, output: TokenRange) -> MeasuredLoad | None:
    """Return the load of a strategy; nothing for evenly spaced or replayed arrivals."""
    kind, cap = dig(strategy, "type_"), int(figure(strategy, "max_concurrency") or 0)
    if kind == "synchronous":
        return MeasuredLoad("closed", prompt, output, concurrency=1, requests=requests)
    if kind == "concurrent":
        streams = int(figure(strategy, "streams") or cap)
        return MeasuredLoad("closed", prompt, output, concurrency=streams, requests=requests) if streams else None
    if kind == "throughput":
        if cap and cap < requests:
            return MeasuredLoad("closed", prompt, output, concurrency=cap, requests=requests)
        return MeasuredLoad("offline", prompt, output, requests=requests)
    rate = figure(strategy, "rate")
    if kind == "poisson" and rate:
        return MeasuredLoad("open", prompt, output, requests=requests, rate_per_s=rate)
    return None


def _tokens(benchmark: object, which: str, place: str) -> TokenRange:
    counted = dig(benchmark, "metrics", f"{which}_token_count", "successful")
    mean = figure(counted, "mean")
    if mean is None:
        raise InputError(place, f"it counts no {which} tokens", "Export a run whose server counted its tokens.")
    return TokenRange.around(mean, figure(counted, "std_dev") or 0.0)


def _first(document: object, paths: tuple[tuple[str, ...], ...]) -> Any:
    return next((found for path in paths if (found := dig(document, *path)) is not None), None)
