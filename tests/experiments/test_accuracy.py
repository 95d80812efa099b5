"""Measurements simulated and compared: what is taken, what is refused, and that the figures are those of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

import inferencesim
from inferencesim.errors import InputError
from inferencesim.experiments.accuracy import columns_of, compare, group_columns, measure_accuracy, plan_work
from inferencesim.experiments.reproduce import Reproduction
from inferencesim.measurements.measurement import (
    MeasuredLoad,
    MeasuredSetup,
    Measurement,
    Readings,
    TokenRange,
    Unsupported,
)
from inferencesim.measurements.reading import read_folder
from inferencesim.results.accuracy import Comparison, NotReproduced

SHARED = Path(inferencesim.__file__).parents[2] / "shared" / "measurements"


def measurement(name, *, chip="nvidia-h100-sxm", model="llama-3.1-8b", tensor=1, clients=4, kind="closed", **observed):
    formats = {"weights": "fp8", "activations": "fp8", "kv": "bf16"}
    setup = MeasuredSetup(chip, model, "vllm", "", formats, {"tensor": tensor})
    load = MeasuredLoad(kind, TokenRange(200, 240), TokenRange(20, 24), clients, requests=20)
    return Measurement(name, "lab", "", setup, load, observed or {"tpot_s": 0.01, "ttft_s": 0.02})


def readings(*measurements, unsupported=()):
    return Readings(tuple(measurements), tuple(unsupported), rows=len(measurements) + len(unsupported))


def test_a_comparison_holds_what_the_kernel_says():
    one = measurement("a", tpot_s=0.01, ttft_s=0.02)
    simulated = Reproduction(one).simulate()
    row = compare(one)
    assert isinstance(row, Comparison)
    assert row.figures["tpot"].measured == 0.01
    assert row.figures["tpot"].predicted == simulated["tpot_s"]
    assert row.figures["ttft"].predicted == simulated["ttft_s"]
    assert set(row.figures) == {"tpot", "ttft"}
    assert row.precision == "fp8, bf16 KV"
    assert row.expected_error == Reproduction(one).plan.pools[0].deployment.expected_error


def test_without_calibration_nothing_is_calibrated():
    row = compare(measurement("a"), "none")
    assert not row.calibrated
    assert row.expected_error == "unvalidated: class prior"


@pytest.mark.parametrize(
    ("kind", "ttft_s", "unqueued"),
    # Twenty-two tokens at 10 ms each are 0.21 s after the first: 0.07 s of TTFT is a quarter of the whole.
    [("closed", 0.05, True), ("closed", 0.09, False), ("offline", 0.05, False), ("static", 0.05, True)],
)
def test_a_ttft_that_is_mostly_queueing_is_told_by_the_measurement_alone(kind, ttft_s, unqueued):
    row = compare(measurement("a", kind=kind, tpot_s=0.01, ttft_s=ttft_s))
    assert row.below_saturation is unqueued


def test_what_cannot_be_deployed_says_why_without_its_own_numbers():
    row = compare(measurement("a", model="llama-3.1-405b"))
    assert isinstance(row, NotReproduced)
    assert "does not fit" in row.reason
    assert "weights" not in row.reason
    assert row.load == "closed"


def test_a_report_counts_every_row_once():
    unknown = Unsupported("x", "lab", "abacus", "llama-3.1-8b", "vllm", "no profile of abacus")
    too_big = measurement("c", model="llama-3.1-405b")
    work = plan_work(readings(measurement("a"), measurement("b", clients=8), too_big, unsupported=[unknown]))
    seen = []
    report = measure_accuracy(work, data="lab.csv", progress=lambda now, end: seen.append((now, end)))
    assert (report.total.rows, report.total.unsupported, report.rows_read) == (2, 2, 4)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [row.id for row in report.rows] == ["a", "b"]
    assert {row.id for row in report.unsupported} == {"c", "x"}
    assert sum(group.rows for group in report.groups) == 2
    assert sum(group.unsupported for group in report.groups) == 2
    assert report.calibrated.rows + report.class_priors.rows == 2
    assert report.sources[0].errors["tpot"].rows == 2


def test_measured_step_times_are_neither_calibrated_nor_class_priors():
    row = compare(measurement("a"), "none").model_copy(update={"step_table": True})
    report = measure_accuracy(type(plan_work(readings()))((lambda: row,), (), 1), data="traces")
    assert (report.step_tables.rows, report.calibrated.rows, report.class_priors.rows) == (1, 0, 0)


def test_another_kind_of_measurement_is_another_callable():
    row = compare(measurement("a"))
    work = plan_work(readings())
    work = type(work)((lambda: row.model_copy(update={"id": "trace", "source": "request trace"}),), (), 300)
    report = measure_accuracy(work, data="traces")
    assert [group.group["source"] for group in report.groups] == ["request trace"]


def test_a_sample_is_drawn_from_the_supported_rows_by_its_seed():
    every = readings(*(measurement(str(clients), clients=clients) for clients in range(1, 31)))

    def drawn(n, seed):
        return [piece.args[0].id for piece in plan_work(every, sample=n, seed=seed).reproductions]

    assert len(drawn(12, 0)) == len(set(drawn(12, 0))) == 12
    assert drawn(12, 0) == drawn(12, 0)
    assert drawn(12, 0) != drawn(12, 1)
    assert len(drawn(99, 0)) == 30


def test_only_rows_of_one_value():
    unknown = Unsupported("x", "lab", "abacus", "llama-3.1-8b", "vllm", "no profile of abacus")
    every = readings(measurement("a"), measurement("b", chip="nvidia-h200-sxm"), unsupported=[unknown])
    work = plan_work(every, only={"hardware": "nvidia-h200-sxm"})
    assert [piece.args[0].id for piece in work.reproductions] == ["b"]
    assert work.unsupported == ()
    with pytest.raises(InputError, match="Did you mean 'nvidia-h200-sxm'"):
        plan_work(every, only={"hardware": "nvidia-h200"})


def test_groups_by_precision_and_load():
    assert columns_of(measurement("a"))["precision"] == "fp8, bf16 KV"
    report = measure_accuracy(
        plan_work(readings(measurement("a"), measurement("b", kind="static"))), data="", by=("precision", "load")
    )
    assert [each.group["load"] for each in report.groups] == ["closed", "static"]
    with pytest.raises(InputError, match=r"--group: unknown column 'engin'. Did you mean 'engine'\?"):
        group_columns(["hardware", "engin"])
    with pytest.raises(InputError, match="given twice"):
        group_columns(["model", "model"])


def test_a_sample_of_the_shared_measurements():
    if not SHARED.is_dir():
        pytest.skip("the shared measurements are not here")
    report = measure_accuracy(plan_work(read_folder(SHARED), sample=12, seed=3), data=str(SHARED))
    assert report.total.rows + len(report.unsupported) > 500
    assert report.total.rows >= 10
    # Wrong units, lengths or loads would be off by far more than a factor of three.
    assert all(1 / 3 < row.figures["tpot"].predicted / row.figures["tpot"].measured < 3 for row in report.rows
               if "tpot" in row.figures and row.source == "silicon")  # fmt: skip
