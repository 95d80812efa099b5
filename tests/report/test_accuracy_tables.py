"""What a person reads of an accuracy report: calibrated and uncalibrated apart, in-sample called so."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from inferencesim.deployment.calibration import Errors
from inferencesim.errors import InputError
from inferencesim.report.accuracy import accuracy_tables, plot_accuracy
from inferencesim.report.engine_series import plot_series
from inferencesim.report.plots import save
from inferencesim.results.accuracy import (
    AccuracyReport,
    Comparison,
    CrossValidated,
    Pair,
    compared_series,
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
        disaggregated=group_accuracy({"set": "disaggregated prefill and decode"}, [], None),
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


def with_series(one):
    moments = np.array([1.0, 2.0, 3.0, 4.0])
    running = compared_series("running", moments, np.array([0.0, 40.0, 20.0, 0.0]), np.array([10.0, 40.0, 15.0, 5.0]))
    held = compared_series("kv_usage", moments, np.array([0.1, 0.5, 0.2, 0.0]), np.array([0.1, 0.5, 0.2, 0.1]))
    return one.model_copy(update={"series": (running, held), "preemptions": 17})


def test_series_have_a_table_where_there_are_any(report):
    assert "Series" not in text_of(report)
    lines = text_of(report.model_copy(update={"rows": (with_series(report.rows[0]), report.rows[1])})).splitlines()
    running = next(line.split() for line in lines if "requests running" in line)
    assert running == ["1", "requests", "running", "4", "40", "12.5", "%", "25.0", "%", "17"]
    held = next(line.split() for line in lines if "KV blocks held" in line)
    assert held[-6:] == ["4", "50", "5.0", "%", "20.0", "%"]


def test_series_are_plotted_recorded_and_simulated(report, tmp_path):
    figure = plot_series([with_series(report.rows[0]), report.rows[1]])
    running, held = (axis for axis in figure.axes if axis.get_visible())
    assert [line.get_label() for line in running.lines] == ["recorded", "simulated"]
    assert list(running.lines[1].get_ydata()) == [10.0, 40.0, 15.0, 5.0]
    assert list(held.lines[0].get_ydata()) == [10.0, 50.0, 20.0, 0.0]
    assert save(figure, tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"--plot-series: none of these measurements has a series"):
        plot_series(report.rows)


def test_disaggregated_rows_stand_apart(report):
    one = report.rows[1].model_copy(update={"disaggregated": True})
    apart = group_accuracy({"set": "disaggregated prefill and decode"}, [one], None)
    assert "disaggregated prefill" not in text_of(report)
    assert "disaggregated prefill" in text_of(report.model_copy(update={"disaggregated": apart}))
