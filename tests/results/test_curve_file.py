"""The file of a cost curve: stable text, and no way to read what contradicts itself."""

from __future__ import annotations

import pytest
import yaml

from inferencesim.errors import InputError
from inferencesim.results.curve import Figure, Limit, Point, RecordedCurve, curve_text, read_curve

COST, KEPT = "cost_per_completed_task_usd", "slo_attainment"


def a_curve():
    def point(load, cost, kept):
        return Point(load=load, states={"stable": 3}, figures={COST: Figure.of(cost), KEPT: Figure.of(kept)})

    return RecordedCurve(
        scenario="mixed_fleet",
        overrides=("horizon=1min",),
        placement="tag_aware",
        balancing="least_outstanding",
        seed=1,
        replications=3,
        false_alarm_rate=0.01,
        limits={COST: Limit(size=0.01, relative=True), KEPT: Limit(size=0.005, relative=False)},
        version="0.1.0",
        scenario_digest="ab" * 32,
        physics={"gpu": "12" * 8},
        points=(
            point(0.5, [0.00123456789, 0.0012361, 0.0012299], [0.99, 1.0, 0.98]),
            point(1.0, [0.001, 0.0011, 0.0012], [0.9, 0.9, 0.9]),
        ),
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "curve.yaml"
    path.write_text(curve_text(a_curve()), encoding="utf-8")
    return path


def edited(file, change):
    """Return the refusal of a file after a change of its tree."""
    tree = yaml.safe_load(file.read_text())
    change(tree)
    file.write_text(yaml.safe_dump(tree))
    with pytest.raises(InputError) as caught:
        read_curve(file)
    return str(caught.value)


def test_it_is_read_as_it_was_written(file):
    assert read_curve(file) == a_curve()
    assert curve_text(read_curve(file)) == file.read_text()


def test_people_read_limits_and_one_line_per_list(file):
    lines = [line.strip() for line in file.read_text().splitlines()]
    assert "limits: {cost_per_completed_task_usd: 1 %, slo_attainment: 0.5 points}" in lines
    assert "values: [0.00123457, 0.0012361, 0.0012299]" in lines


def test_means_have_the_digits_that_their_intervals_support():
    seen = Figure.of([10.0, 10.4, 10.9])
    assert seen.mean == 10.4  # 10.4333 ± 1.12
    assert seen.interval == (9.3, 11.6)
    assert Figure.of([0.1234567, 0.1234567]).interval == (0.123457, 0.123457)


def test_a_frame_has_a_row_per_load_and_figure():
    frame = a_curve().frame
    assert list(frame.columns) == ["load", "metric", "mean", "low", "high"]
    assert len(frame) == 4


def test_a_mean_that_is_not_of_its_values(file):
    def lift(tree):
        tree["points"][1]["figures"][COST]["mean"] = 0.0015

    assert "one was changed by hand" in edited(file, lift)


def test_a_curve_that_misses_something(file):
    assert "there are 3 replications" in edited(file, lambda tree: tree["points"][1]["figures"][KEPT]["values"].pop())


def test_a_figure_that_misses(file):
    assert "the point at load 0.5 has no slo_attainment" in edited(
        file, lambda tree: tree["points"][0]["figures"].pop(KEPT)
    )


def test_loads_out_of_order(file):
    assert "must increase" in edited(file, lambda tree: tree["points"].reverse())


def test_another_schema(file):
    assert "schema: 2 is not one of 1" in edited(file, lambda tree: tree.update(schema=2))


def test_a_limit_that_is_none(file):
    assert "limits.slo_attainment" in edited(file, lambda tree: tree["limits"].update({KEPT: "a bit"}))


def test_a_limit_of_nothing(file):
    assert "limits.slo_attainment" in edited(file, lambda tree: tree["limits"].update({KEPT: "0 points"}))


def test_text_that_is_cut_off(file):
    text = file.read_text()
    file.write_text(text[: text.rindex("[") + 4])
    with pytest.raises(InputError, match=r"curve\.yaml, line \d+"):
        read_curve(file)
