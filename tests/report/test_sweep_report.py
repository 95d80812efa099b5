"""What a sweep shows: one line per combination, and every figure that moves against every axis."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from inferencesim.errors import InputError
from inferencesim.report.sweep import sweep_tables
from inferencesim.report.sweep_plots import plot_against, save_sweep_plots
from inferencesim.results.sweep import Sweep, SweptAxis, Trial, TrialResult


def trial(parameters, replication=0, state="stable", why="", **figures):
    result = TrialResult(key="0" * 64, state=state, why=why, figures=figures)
    return Trial(parameters=parameters, replication=replication, seed=replication, result=result)


def swept(axes, trials):
    return Sweep(name="tiny", question="", versions={}, design="grid", axes=axes, trials=tuple(trials))


RATE, ORDER = SweptAxis(path="rate", unit="/s", logarithmic=True), SweptAxis(path="order", unit=None)
BOTH = swept(
    (RATE, ORDER),
    [
        trial({"rate": rate, "order": order}, replication, arrived=rate * (1.0 + replication), fixed=3.0)
        for rate in (10.0, 100.0)
        for order in ("fcfs", "sjf")
        for replication in (0, 1)
    ],
)


def text(sweep):
    console = Console(width=160, record=True, file=io.StringIO())
    for part in sweep_tables(sweep):
        console.print(part)
    return console.export_text()


def test_replications_are_averaged_and_their_states_counted():
    cost = "cost_per_completed_request_usd"
    shown = text(
        swept(
            (RATE,),
            [
                trial({"rate": 10.0}, 0, **{cost: 1.0}),
                trial({"rate": 10.0}, 1, state="unstable", **{cost: 3.0}),
                trial({"rate": 20.0}, 0, state="failed", why="does not fit"),
                trial({"rate": 20.0}, 1, state="killed", why="given up"),
            ],
        )
    )
    assert "$2.00" in shown
    assert "1 stable, 1 unstable" in shown
    assert "1 failed: does not fit" in shown
    assert "tried again" in shown


def test_lines_are_of_the_other_axis_and_go_through_the_means():
    picture = plot_against(BOTH, RATE, "fleet", ["arrived"])
    panel = picture.axes[0]
    assert panel.get_xscale() == "log"
    dots, line = panel.lines[:2]
    assert list(dots.get_xdata()) == [10.0, 10.0, 100.0, 100.0]
    assert list(line.get_ydata()) == [15.0, 150.0]
    assert [each.get_label() for each in panel.lines[1::2]] == ["order fcfs", "order sjf"]


def test_words_are_drawn_one_after_the_other():
    panel = plot_against(BOTH, ORDER, "fleet", ["arrived"]).axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["fcfs", "sjf"]


def test_every_figure_that_moves_is_drawn_against_every_axis(tmp_path):
    names = {path.name for path in save_sweep_plots(BOTH, tmp_path)}
    assert names == {"rate--fleet.png", "order--fleet.png"}
    still = swept((RATE,), [trial({"rate": rate}, fixed=3.0) for rate in (1.0, 2.0)])
    assert save_sweep_plots(still, tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save_sweep_plots(BOTH, tmp_path / "file")
