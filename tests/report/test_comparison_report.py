"""What a comparison shows: tables, Markdown, the plot."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inferencesim.report.comparison import comparison_parts, metric_name, written
from inferencesim.report.markdown import markdown
from inferencesim.report.pareto import front, plot_pareto
from inferencesim.report.plots import save
from inferencesim.results.comparison import Alternative, Comparison, Estimate, MeanDifference

COST, KEPT = "cost_per_completed_task_usd", "slo_attainment"


def crafted(against="a|b", **said):
    """Two alternatives, the second cheaper by 10 % and not shown to keep more promises."""
    names = ("a|b", "c_d")
    alternative = {"scenario_digest": "0", "placement": "p", "balancing": "b", "oracle": False, "failed": 0}
    estimates = [
        Estimate(alternative=name, metric=metric, mean=mean, low=mean * 0.9, high=mean * 1.1, replications=5)
        for metric, means in ((COST, (0.02, 0.018)), (KEPT, (0.5, 0.52)))
        for name, mean in zip(names, means, strict=True)
    ]
    rows = [
        MeanDifference(
            alternative="c_d", against="a|b", metric=COST, difference=-0.002, low=-0.003, high=-0.001, relative=-0.1,
            conclusion="better", variance_ratio=0.1, replications=5,
        ),
        MeanDifference(
            alternative="c_d", against="a|b", metric=KEPT, difference=0.02, low=-0.01, high=0.05, relative=0.04,
            conclusion="no difference shown", variance_ratio=0.5, replications=5,
        ),
    ]  # fmt: skip
    return Comparison(
        **{
            "question": "Which?", "seed": 1, "against": against, "metrics": (COST, KEPT), "confidence": 0.95,
            "comparisons": 2, "replications": 5, "half_width": None, "reached": None, "warm_up_s": {}, "trial_rows": (),
            "notes": ("A note.",), "estimates": tuple(estimates), "difference_rows": tuple(rows),
            "alternatives": (
                Alternative(name="a|b", states={"stable": 5}, open_share=0.0, **alternative),
                Alternative(name="c_d", states={"stable": 3, "unstable": 2}, open_share=0.25, **alternative),
            ),
        }
        | said
    )  # fmt: skip


def shown(found):
    console = Console(file=io.StringIO(), width=200)
    for part in comparison_parts(found):
        console.print(part)
    return console.file.getvalue()


def test_the_tables_have_means_differences_verdicts_and_words():
    text = shown(crafted())
    for words in (
        "Means of 5 replications ± 95 %",
        "$0.0200 ± 10 %",
        "52.0 ± 5.2 %",
        "stable 3×, unstable 2×",
        "25.0 %",
        "-10.0 %   -15.0 to -5.00   better",
        "+2.00 points   -1.00 to +5.00   no difference shown",
        "corrected for 2 comparisons",
        "c_d wins at cost per completed task. No winner is shown at promises kept.",
        "A note.",
    ):
        assert words in text


def test_it_is_said_who_the_best_is():
    line = next(line for line in shown(crafted(against="best")).splitlines() if "points" in line)
    assert line.split()[:4] == ["promises", "kept", "c_d", "a|b"]


def test_the_wanted_half_width_is_answered():
    assert "Wanted: ± 2 % of cost per completed task; not reached" in shown(crafted(half_width=0.02, reached=False))


def test_what_is_unknown_is_a_dash():
    nothing = {"difference": None, "low": None, "high": None, "relative": None, "conclusion": "unknown"}
    rows = [row.model_copy(update=nothing) for row in crafted().difference_rows]
    text = shown(crafted(difference_rows=tuple(rows)))
    assert text.count("–") == 4
    assert text.count("unknown") == 2


@pytest.mark.parametrize(
    ("metric", "name", "half"),
    [
        ("ttft_s.p99", "TTFT p99", "500 ms"),
        ("classes.chat.slo_attainment", "chat: promises kept", "50.0 %"),
        ("queue_time_s.mean", "queue time s mean", "500 ms"),
        ("output_tokens_per_s", "output tokens per s", "0.500"),
        ("pools.rack.owned_usd", "rack: owned usd", "$0.500"),
        ("energy_per_completed_task_j", "energy per completed task", "0.500 J"),
        ("carbon_g", "carbon g", "0.500 g"),
        ("arrived", "arrived", "0.500"),
    ],
)
def test_metrics_have_names_and_units(metric, name, half):
    assert metric_name(metric) == name
    assert written(metric, 0.5) == half


def test_markdown_escapes_what_would_be_a_mark():
    table = Table(title="One *two*")
    table.add_column("name")
    table.add_column("n", justify="right")
    table.add_row("a|b_c", Text("1", style="red"))
    assert markdown([Text("5 < 6"), table]) == (
        "5 \\< 6\n\n**One \\*two\\***\n\n| name | n |\n| --- | ---: |\n| a\\|b\\_c | 1 |\n"
    )
    assert markdown(comparison_parts(crafted())).count("\n| --- |") == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8))
def test_nobody_beats_the_front_and_somebody_beats_the_rest(points):
    kept = front(points)
    for place, (cost, attained) in enumerate(points):
        beaten = any(
            c <= cost and a >= attained and (c < cost or a > attained) for c, a in (points[each] for each in kept)
        )
        assert beaten != (place in kept)


def test_the_plot_is_a_picture_also_of_those_that_promise_nothing(tmp_path):
    found = crafted()
    assert save(plot_pareto(found), tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    nothing = {"mean": None, "low": None, "high": None}
    without = [one.model_copy(update=nothing) if one.metric == KEPT else one for one in found.estimates]
    figure = plot_pareto(crafted(estimates=tuple(without)))
    assert "no such figures: a|b, c_d" in figure.axes[0].get_title(loc="left")
