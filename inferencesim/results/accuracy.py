"""How far predictions are from measurements: rows, errors per group, and the ranking.

An error is (predicted − measured) / measured. TPOT counts per-user rates, and
TTFT prefill rates, as the times they imply. Throughput is what was observed
first of output tokens, all tokens and requests per second; E2E is a request's,
or else the makespan of a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

import numpy as np
from pydantic import Field, PositiveFloat
from scipy.stats import kendalltau

from inferencesim.deployment.calibration import Errors
from inferencesim.measurements.engine_series import SeriesName
from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from inferencesim.measurements.measurement import Metric

#: What is compared: times in seconds, throughput per second.
Figure = Literal["tpot", "ttft", "throughput", "e2e"]

#: What errors are given of: the figures, TTFT where it is not queueing, and one figure of speed per row
#: (TPOT, or else throughput, or else E2E).
Series = Literal["tpot", "ttft", "ttft_below_saturation", "throughput", "e2e", "speed"]

#: Columns by which rows can be grouped and filtered.
Column = Literal["source", "hardware", "engine", "model", "precision", "load"]
COLUMNS: tuple[Column, ...] = get_args(Column)

#: Metrics that give a figure, the first observed one counts.
_METRICS: dict[Figure, tuple[Metric, ...]] = {
    "tpot": ("tpot_s", "output_tokens_per_s_per_user"),
    "ttft": ("ttft_s", "prefill_tokens_per_s"),
    "throughput": ("output_tokens_per_s", "total_tokens_per_s", "requests_per_s"),
    "e2e": ("e2e_s", "makespan_s"),
}
_SPEED: tuple[Figure, ...] = ("tpot", "throughput", "e2e")


class Pair(Record):
    """One figure, measured and predicted, in the same unit."""

    measured: PositiveFloat
    predicted: PositiveFloat

    @property
    def error(self) -> float:
        """(predicted − measured) / measured."""
        return self.predicted / self.measured - 1.0


class SeriesComparison(Record):
    """One series of an engine over time, recorded and simulated.

    Attributes
    ----------
    name : SeriesName
    mean_error, largest_error : float
        Of |predicted − measured| over all moments, as a share of the largest measured value.
    moments_s : tuple of float
        Seconds since the recording began.
    measured, predicted : tuple of float
        At each moment.
    """

    name: SeriesName
    mean_error: float
    largest_error: float
    moments_s: tuple[float, ...]
    measured: tuple[float, ...]
    predicted: tuple[float, ...]


class Comparison(Record):
    """One measurement beside its simulation.

    Attributes
    ----------
    id : str
        As the measurement is named where it is from.
    source, hardware, engine, model, precision, load : str
        The columns of groups.
    calibrated : bool
        Whether its deployment has a calibration.
    step_table : bool
        Whether its step times were measured, operator by operator or as a whole.
    expected_error : str
        What is known about the accuracy of its deployment.
    below_saturation : bool
        Whether its TTFT, if observed, is not mostly queueing.
    disaggregated : bool
        Whether other workers prefilled than decoded.
    figures : dict of Figure to Pair
    series : tuple of SeriesComparison
        What was recorded over time.
    preemptions : int or None
        Of the simulation, where a series is compared.
    """

    id: str
    source: str
    hardware: str
    engine: str
    model: str
    precision: str
    load: str
    calibrated: bool
    step_table: bool = False
    expected_error: str
    below_saturation: bool
    disaggregated: bool = False
    figures: dict[Figure, Pair]
    series: tuple[SeriesComparison, ...] = ()
    preemptions: int | None = None

    @property
    def priors_only(self) -> bool:
        """Whether nothing but class priors stands behind it."""
        return not (self.calibrated or self.step_table)


class NotReproduced(Record):
    """A measurement that cannot be simulated, and why; what it does not tell is empty."""

    id: str
    source: str
    hardware: str
    engine: str
    model: str
    precision: str = ""
    load: str = ""
    reason: str


class ErrorFigures(Record):
    """Relative errors of one figure over some rows.

    Attributes
    ----------
    rows : int
    median, mean, p90 : float
        Of the absolute errors.
    bias : float
        Median of the signed errors: positive where predictions are too large.
    within_factor_two : float
        Share of predictions between half and twice the measured value.
    tau : float or None
        Kendall's τ-b between predicted and measured: 1 where they rank all rows alike. None where nothing can be
        ranked, and for speed, which is not one quantity.
    """

    rows: int
    median: float
    mean: float
    p90: float
    bias: float
    within_factor_two: float
    tau: float | None


class GroupAccuracy(Record):
    """Errors of the rows of one group.

    Attributes
    ----------
    group : dict of str to str
        Column and value of what the rows have in common.
    rows : int
        Measurements that were simulated; twins count once.
    unsupported : int or None
        Measurements that could not be; None where they cannot be told to belong to the group.
    expected_errors : tuple of str
        What is known about the accuracy of their deployments, each once.
    errors : dict of Series to ErrorFigures
        Of what was observed.
    """

    group: dict[str, str]
    rows: int
    unsupported: int | None
    expected_errors: tuple[str, ...]
    errors: dict[Series, ErrorFigures]


class CrossValidated(Record):
    """Errors of a shipped calibration on measurements its fits had not seen."""

    hardware: str
    engine: str
    unseen_rows: Errors
    unseen_models: Errors | None


class AccuracyReport(Record):
    """Everything ``inferencesim accuracy`` found.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    versions : dict of str to str
        Of Python and of the packages that take part.
    data : str
        The file or folder of the measurements.
    calibration : str
        As a pool of a scenario takes it.
    rows_read : int
        Rows of the files, twins and several figures of one run included.
    group_by : tuple of str
    groups : tuple of GroupAccuracy
    sources : tuple of GroupAccuracy
        One per source.
    total, calibrated, step_tables, class_priors, disaggregated : GroupAccuracy
        All rows; those with a calibration; those with measured step times; those with neither; and apart from these
        three, those whose prompts were prefilled by other workers.
    cross_validated : tuple of CrossValidated
        Of the calibrations that took part.
    rows : tuple of Comparison
    unsupported : tuple of NotReproduced
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    versions: dict[str, str]
    data: str
    calibration: str
    rows_read: int
    group_by: tuple[Column, ...]
    groups: tuple[GroupAccuracy, ...]
    sources: tuple[GroupAccuracy, ...]
    total: GroupAccuracy
    calibrated: GroupAccuracy
    step_tables: GroupAccuracy
    class_priors: GroupAccuracy
    disaggregated: GroupAccuracy
    cross_validated: tuple[CrossValidated, ...]
    rows: tuple[Comparison, ...]
    unsupported: tuple[NotReproduced, ...]


def compared_figures(
    observed: Mapping[Metric, float], predicted: Mapping[Metric, float], prompt_tokens: float
) -> dict[Figure, Pair]:
    """Return the figures that are both observed and predicted.

    Parameters
    ----------
    observed, predicted : mapping of Metric to float
    prompt_tokens : float
        Mean length: turns a prefill rate into a TTFT.
    """
    found: dict[Figure, Pair] = {}
    for figure, metrics in _METRICS.items():
        metric = next((name for name in metrics if name in observed), None)
        if metric is None or not predicted.get(metric, 0.0) > 0.0:
            continue
        measured, simulated = observed[metric], predicted[metric]
        if metric in ("output_tokens_per_s_per_user", "prefill_tokens_per_s"):
            tokens = prompt_tokens if metric == "prefill_tokens_per_s" else 1.0
            measured, simulated = tokens / measured, tokens / simulated
        found[figure] = Pair(measured=measured, predicted=simulated)
    return found


def compared_series(
    name: SeriesName,
    moments_s: NDArray[np.float64],
    measured: NDArray[np.float64],
    predicted: NDArray[np.float64],
) -> SeriesComparison:
    """Return a series with its errors; one that was zero throughout counts errors as they are."""
    errors = np.abs(predicted - measured) / (measured.max() or 1.0)
    return SeriesComparison(
        name=name,
        mean_error=float(errors.mean()),
        largest_error=float(errors.max()),
        moments_s=tuple(moments_s.tolist()),
        measured=tuple(measured.tolist()),
        predicted=tuple(predicted.tolist()),
    )


def summarise(
    rows: Sequence[Comparison], unsupported: Sequence[NotReproduced], by: Sequence[Column]
) -> tuple[GroupAccuracy, ...]:
    """Return one group per distinct values of the columns `by`, sorted by them."""

    def key(row: Comparison | NotReproduced) -> tuple[str, ...]:
        return tuple(getattr(row, column) for column in by)

    keys = sorted({key(row) for row in rows} | {key(row) for row in unsupported})
    compared: dict[tuple[str, ...], list[Comparison]] = {each: [] for each in keys}
    refused: dict[tuple[str, ...], list[NotReproduced]] = {each: [] for each in keys}
    for row in rows:
        compared[key(row)].append(row)
    for other in unsupported:
        refused[key(other)].append(other)
    return tuple(group_accuracy(dict(zip(by, each, strict=True)), compared[each], len(refused[each])) for each in keys)


def group_accuracy(group: dict[str, str], rows: Sequence[Comparison], unsupported: int | None) -> GroupAccuracy:
    """Return the errors of some rows under a name."""
    errors: dict[Series, ErrorFigures] = {}
    for series in get_args(Series):
        pairs = [pair for pair in (_pair(row, series) for row in rows) if pair is not None]
        if pairs:
            errors[series] = error_figures(pairs, ranked=series != "speed")
    expected = tuple(sorted({row.expected_error for row in rows}))
    return GroupAccuracy(group=group, rows=len(rows), unsupported=unsupported, expected_errors=expected, errors=errors)


def error_figures(pairs: Iterable[Pair], *, ranked: bool = True) -> ErrorFigures:
    """Return the errors of at least one pair; Kendall's τ only where the pairs are `ranked`."""
    measured, predicted = np.array([(pair.measured, pair.predicted) for pair in pairs]).T
    signed = predicted / measured - 1.0
    absolute = np.abs(signed)
    return ErrorFigures(
        rows=signed.size,
        median=float(np.median(absolute)),
        mean=float(absolute.mean()),
        p90=float(np.quantile(absolute, 0.9)),
        bias=float(np.median(signed)),
        within_factor_two=float(((signed >= -0.5) & (signed <= 1.0)).mean()),
        tau=_tau(measured, predicted) if ranked else None,
    )


def _tau(measured: np.ndarray, predicted: np.ndarray) -> float | None:
    if np.unique(measured).size < 2 or np.unique(predicted).size < 2:
        return None
    return float(kendalltau(measured, predicted).statistic)


def _pair(row: Comparison, series: Series) -> Pair | None:
    if series == "speed":
        return next((row.figures[figure] for figure in _SPEED if figure in row.figures), None)
    if series == "ttft_below_saturation":
        return row.figures.get("ttft") if row.below_saturation else None
    return row.figures.get(series)
