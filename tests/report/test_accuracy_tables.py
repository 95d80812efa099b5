"""What a person reads of an accuracy report: calibrated and uncalibrated apart, in-sample called so."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from inferencesim.deployment.calibration import Errors
from inferencesim.report.accuracy import accuracy_tables, plot_accuracy
from inferencesim.report.plots import save
from inferencesim.results.accuracy import (
    AccuracyReport,
    Comparison,
    CrossValidated,
    Pair,
    group_accuracy,
    summarise,
)

UNSEEN = Errors(measurements=212, tpot_median=0.091, tpot_mean=0.13, tpot_p90=0.28, ttft_median=0.25)


def row(name, *, calibrated, predicted):
    return Comparison(
        id=name, source="test", hardware="fitted-chip" if calibrated else "new-chip", engine="vllm", model="m",
        precision="fp8", load="closed", calibrated=calibrated, below_saturation=True,
        expected_error="±9 % (n = 212)" if calibrated else "unvalidated: class prior",
        figures={"tpot": Pair(measured=0.010, predicted=predicted)},
    )  # fmt: skip


@pytest.fixture
def report():
    fitted, new = row("1", calibrated=True, predicted=0.0105), row("2", calibrated=False, predicted=0.0130)
    rows = (fitted, new)
    return AccuracyReport(
        versions={}, data="lab", calibration="shipped", rows_read=3, group_by=("hardware",), rows=rows, unsupported=(),
        groups=summarise(rows, [], ("hardware",)), sources=summarise(rows, [], ("source",)),
        total=group_accuracy({"set": "all"}, rows, 0),
        calibrated=group_accuracy({"set": "calibrated"}, [fitted], None),
        step_tables=group_accuracy({"set": "measured step tables"}, [], None),
        class_priors=group_accuracy({"set": "class priors only"}, [new], None),
        cross_validated=(
            CrossValidated(hardware="fitted-chip", engine="vllm", unseen_rows=UNSEEN, unseen_models=None),
        ),
    )  # fmt: skip


def text_of(report):
    console = Console(file=io.StringIO(), width=160)
    for part in accuracy_tables(report):
        console.print(part)
    return console.file.getvalue()


def test_errors_of_fitted_rows_are_called_in_sample(report):
    text = text_of(report)
    assert "in-sample" in text
    assert "inferencesim calibrate" in text
    priors = group_accuracy({"set": "calibrated"}, [], None)
    assert "in-sample" not in text_of(report.model_copy(update={"calibrated": priors, "cross_validated": ()}))


def test_the_cross_validated_errors_stand_beside_those_of_the_fit(report):
    lines = text_of(report).splitlines()
    (unseen,) = (line for line in lines if "random rows" in line)
    assert "fitted-chip" in unseen
    assert [word for word in unseen.split() if word[0].isdigit()] == ["212", "9.1", "13.0", "28.0", "25.0"]
    assert not any("one model" in line for line in lines)
    fitted = next(line for line in lines if line.lstrip().startswith("fitted-chip"))
    assert "±9 % (n = 212)" in fitted
    assert "+5.0 %" in fitted


def test_the_same_report_is_the_same_picture(report, tmp_path):
    first, second = (save(plot_accuracy(report), tmp_path / name).read_bytes() for name in ("1.png", "2.png"))
    assert first == second
    assert first.startswith(b"\x89PNG")
