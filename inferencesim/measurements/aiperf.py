"""Results of AIPerf and of GenAI-Perf before it (``profile_export_aiperf.json``, ``profile_export_genai_perf.json``).

The JSON has the load in ``input_config``; the CSV has the same figures without
it, so its concurrency comes from the defaults. Inter-token latency, averaged per
request, is the TPOT of this project.
Source: AIPerf ``docs/tutorials/working-with-profile-exports.md``.
"""

from __future__ import annotations

import csv
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

_FIGURES: dict[str, Metric] = {
    "time_to_first_token": "ttft_s",
    "inter_token_latency": "tpot_s",
    "request_latency": "e2e_s",
    "output_token_throughput": "output_tokens_per_s",
    "total_token_throughput": "total_tokens_per_s",
    "request_throughput": "requests_per_s",
}
_TIMES = ("ttft_s", "tpot_s", "e2e_s")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3}
#: Where AIPerf and GenAI-Perf say the same thing.
_CONCURRENCY = (("loadgen", "concurrency"), ("perf_analyzer", "stimulus", "concurrency"), ("concurrency",))
_RATE = (("loadgen", "request_rate"), ("perf_analyzer", "stimulus", "request_rate"), ("request_rate",))
_MODEL = (("endpoint", "model_names"), ("model_names",), ("model",))
_ARRIVALS = (("loadgen", "arrival_pattern"), ("loadgen", "request_rate_mode"))


class AiPerf:
    """Reads the aggregated export, JSON or CSV."""

    def sniff(self, contents: Contents) -> bool:
        """Say whether there are metrics with averages and units, under AIPerf's names."""
        if contents.documents:
            return dig(contents.documents[0], "time_to_first_token", "avg") is not None
        return contents.columns[:2] == ("Metric", "avg")

    def read(self, contents: Contents, defaults: Defaults) -> Readings:
        """Read the one run.

        Raises
        ------
        InputError
            If something is in neither the file nor the defaults.
        """
        document = contents.documents[0] if contents.documents else _table(contents)
        place, name = str(contents.path), contents.path.stem
        config = dig(document, "input_config")
        models = _first(config, _MODEL)
        setup = defaults.for_model(models[0] if isinstance(models, list) and models else models).setup(place)
        reason = _refusal(document, config)
        if reason:
            refused = Unsupported(name, "aiperf", setup.hardware, setup.model, setup.engine, reason)
            return Readings((), (refused,), 1)
        observed: dict[Metric, float] = {}
        for key, metric in _FIGURES.items():
            value = figure(document, key, "avg")
            if value is not None:
                unit = dig(document, key, "unit") or "ms"
                observed[metric] = value * (_SECONDS.get(unit, 1.0) if metric in _TIMES else 1.0)
        load = _load(document, config, defaults.concurrency, place)
        return Readings((Measurement(name, "aiperf", place, setup, load, observed),), (), 1)


def _refusal(document: object, config: object) -> str:
    """Return why the run cannot be reproduced; empty if it can."""
    rate = _first(config, _RATE)
    if dig(document, "was_cancelled"):
        return "cancelled before its end"
    if figure(document, "error_request_count", "avg"):
        return "requests failed"
    if rate and _first(config, _CONCURRENCY):
        return "open loop with a cap on concurrency"
    if rate and _first(config, _ARRIVALS) not in (None, "poisson"):
        return "arrivals are not Poisson"
    return ""


def _load(document: object, config: object, concurrency: int, place: str) -> MeasuredLoad:
    prompt = _tokens(document, "input_sequence_length", place)
    output = _tokens(document, "output_sequence_length", place)
    requests = int(figure(document, "request_count", "avg") or 0)
    rate, clients = _first(config, _RATE), _first(config, _CONCURRENCY) or concurrency
    if rate:
        return MeasuredLoad("open", prompt, output, requests=requests, rate_per_s=float(rate))
    if not clients:
        raise InputError(place, "neither the file nor an option says: concurrency", "Give it, or the JSON export.")
    return MeasuredLoad("closed", prompt, output, concurrency=int(clients), requests=requests)


def _tokens(document: object, key: str, place: str) -> TokenRange:
    mean = figure(document, key, "avg")
    if mean is None:
        raise InputError(place, f"it has no {key}", "Export a run whose tokens were counted.")
    return TokenRange.around(mean, figure(document, key, "std") or 0.0)


def _table(contents: Contents) -> dict[str, Any]:
    """Return the CSV in the form of the JSON: blocks of metrics, each with its own header."""
    document: dict[str, Any] = {}
    header: list[str] = []
    with contents.path.open(encoding="utf-8-sig", newline="") as file:
        for cells in csv.reader(file):
            if cells[:1] == ["Metric"]:
                header = ["avg" if name == "Value" else name for name in cells]
            elif len(cells) > 1 and header:
                name, _, unit = cells[0].partition(" (")
                figures = {key: _number(cell) for key, cell in zip(header[1:], cells[1:], strict=False)}
                document[name.strip().lower().replace(" ", "_")] = {**figures, "unit": unit.rstrip(")")}
    return document


def _number(cell: str) -> float | None:
    try:
        return float(cell.replace(",", ""))
    except ValueError:
        return None


def _first(document: object, paths: tuple[tuple[str, ...], ...]) -> Any:
    return next((found for path in paths if (found := dig(document, *path)) is not None), None)
