"""Cost curves: equal code gives equal curves, a worse policy is caught, and chance is not mistaken for either."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import guarded

from inferencesim import Curve
from inferencesim.errors import InputError
from inferencesim.experiments.curve_judging import judge
from inferencesim.experiments.curve_points import Seen
from inferencesim.results.curve import Limit

KEPT = "slo_attainment"


@pytest.fixture
def scenario(tmp_path):
    return guarded.write(tmp_path)


def record(scenario, replications=2, loads=(1.0,), **said):
    return Curve.record(scenario, replications=replications, loads=loads, **said)


def refused(act, *words, **said):
    with pytest.raises(InputError) as caught:
        act(*words, **said)
    return str(caught.value)


class TestPlaying:
    def test_the_same_code_is_equal_to_the_last_digit(self, scenario, tmp_path):
        record(scenario, loads=(0.5, 1.0)).save(tmp_path / "curves" / "it.yaml")
        found = Curve.load(tmp_path / "curves" / "it.yaml").check()
        assert found.passed
        assert set(found.differences.conclusion) == {"equal"}
        assert found.notes == ()
        assert found.comparisons == 6

    def test_a_file_names_its_scenario_from_its_own_folder(self, scenario, tmp_path):
        record(scenario).save(tmp_path / "curves" / "it.yaml")
        assert "\nscenario: ../guarded.yaml\n" in (tmp_path / "curves" / "it.yaml").read_text()

    def test_loads_are_factors_on_all_rates(self, scenario):
        half, whole = (record(scenario, loads=(load,)).frame.set_index("metric")["mean"] for load in (0.5, 1.0))
        # The fleet costs the same, and half as many share it.
        assert half["cost_per_completed_task_usd"] > 1.5 * whole["cost_per_completed_task_usd"]

    def test_a_refactoring_changes_nothing(self, scenario, monkeypatch):
        curve = record(scenario)
        guarded.put_in_place(monkeypatch, guarded.rewritten)
        assert set(curve.check().differences.conclusion) == {"equal"}

    @pytest.mark.long
    def test_a_refactoring_passes_twenty_times_out_of_twenty(self, scenario, monkeypatch):
        curves = [record(scenario, loads=(0.5, 1.0), seed=seed) for seed in range(20)]
        guarded.put_in_place(monkeypatch, guarded.rewritten)
        assert sum(curve.check().passed for curve in curves) == 20

    def test_a_worsened_policy_is_caught(self, scenario, monkeypatch):
        curve = record(scenario, replications=20)
        guarded.put_in_place(monkeypatch, guarded.worsened)
        found = curve.check()
        assert not found.passed
        assert [(each.metric, each.conclusion) for each in found.changed] == [(KEPT, "worse")]

    def test_more_figures_can_be_guarded(self, scenario):
        curve = record(scenario, metrics=["classes.chat.slo_attainment", "ttft_s.p99"])
        assert curve.recorded.limits["classes.chat.slo_attainment"] == Limit(size=0.005, relative=False)
        assert curve.recorded.limits["ttft_s.p99"] == Limit(size=0.01, relative=True)
        assert curve.check().comparisons == 5

    def test_figures_that_a_scenario_does_not_have_are_left_out(self, tmp_path):
        silent = guarded.TREE["workload"][0] | {"promise": {}}
        assert KEPT not in record(guarded.write(tmp_path, workload=[silent])).recorded.limits

    def test_fresh_seeds_are_others(self, scenario):
        found = record(scenario).check(fresh_seeds=True)
        assert not found.paired
        assert "equal" not in set(found.differences.conclusion)
        assert "wider than their limits" in found.notes[-1]

    @pytest.mark.long
    def test_several_processes_see_the_same(self, scenario, monkeypatch):
        monkeypatch.setattr("inferencesim.experiments.parallel._STARTING_S", 0.0)
        assert set(record(scenario, replications=4).check(jobs=2).differences.conclusion) == {"equal"}


class TestSince:
    def test_another_scenario_is_refused_and_recorded_again(self, scenario, tmp_path):
        file = tmp_path / "it.yaml"
        record(scenario).save(file)
        text = file.read_text().replace("0.5 points", "0.7 points")
        file.write_text(text)
        guarded.write(tmp_path, horizon="1s")
        said = refused(Curve.load(file).check)
        assert "is not the one of the recording" in said
        assert f"inferencesim curves update {file}" in said
        again = Curve.load(file).again().save(file)
        assert again.recorded.limits[KEPT].size == pytest.approx(0.007)
        assert Curve.load(file).check().passed

    def test_what_changes_no_figure_makes_no_other_scenario(self, scenario, tmp_path):
        file = tmp_path / "it.yaml"
        record(scenario).save(file)
        guarded.write(tmp_path, question="Really?", seed=99, recording={"evidence": "off"})
        assert Curve.load(file).check().passed

    def test_files_count_by_their_content(self, tmp_path):
        trace = tmp_path / "trace.csv"
        rows = [f"2023-11-16 18:00:0{second}.0,30,10" for second in (0, 1, 1)]
        trace.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
        replay = {
            "name": "chat",
            "arrivals": {"process": "trace", "file": "trace.csv", "format": "azure"},
            "models": ["small-model"],
        }
        curve = record(guarded.write(tmp_path, workload=[replay]))
        trace.write_text(trace.read_text().replace(",30,", ",31,"))
        assert "is not the one of the recording" in refused(curve.check)

    def test_other_physics_are_named(self, scenario, tmp_path):
        curve = record(scenario)
        moved = curve.recorded.model_copy(update={"physics": curve.recorded.physics | {"slow": "0" * 16}})
        assert "prices behind slow are not those" in Curve(moved).check().notes[0]

    def test_another_version_is_named(self, scenario):
        curve = record(scenario)
        assert (
            "Recorded by version 0.0.1"
            in Curve(curve.recorded.model_copy(update={"version": "0.0.1"})).check().notes[0]
        )

    def test_a_policy_that_is_gone(self, scenario):
        curve = record(scenario)
        gone = Curve(curve.recorded.model_copy(update={"placement": "least_token"}))
        assert "Did you mean 'least_tokens'?" in refused(gone.check)

    def test_a_policy_that_fails(self, scenario, monkeypatch):
        def fails(request, candidates, scores, parameters, memory):
            raise RuntimeError("no idea")

        curve = record(scenario)
        guarded.put_in_place(monkeypatch, fails)
        assert "load 1, seed 3: cannot be played" in refused(curve.check)


class TestWrongWords:
    def test_nothing_arrives(self, scenario):
        assert "no request arrives in the measurement window at load 1e-06" in refused(
            record, scenario, loads=[1e-6, 1]
        )

    def test_loads(self, scenario):
        for loads in ((), (0.0, 1.0), (1.0, 1.0), (float("nan"),)):
            assert "--load" in refused(record, scenario, loads=loads)

    def test_one_replication(self, scenario):
        assert "--replications: 1" in refused(record, scenario, replications=1)

    def test_a_rate_that_is_none(self, scenario):
        assert "--false-alarm-rate: 1 " in refused(record, scenario, false_alarm_rate=1.0)

    def test_a_figure_that_is_none(self, scenario):
        assert "Did you mean 'ttft_s.p99'?" in refused(record, scenario, metrics=["ttft_s.p98"])

    def test_questions_that_exclude_each_other(self, scenario):
        assert "Ask for one of them" in refused(record(scenario).check, against="HEAD", fresh_seeds=True)


class TestJudging:
    LIMIT = Limit(size=0.01, relative=True)

    def judged(self, old, new, metric="cost_per_completed_task_usd", *, paired=True, limit=LIMIT):
        (row,) = judge(
            [Seen(1.0, {}, {metric: tuple(old)})], [Seen(1.0, {}, {metric: tuple(new)})], {metric: limit}, 0.01,
            paired=paired,
        )  # fmt: skip
        return row

    def test_conclusions(self):
        old = np.array([10.0, 10.1, 9.9, 10.05])
        moved = {
            0.0: "equal",
            0.05: "within the limit",
            0.1: "no change shown",
            0.3: "worse",
            -0.3: "better",
        }
        noise = np.array([0.001, -0.001, 0.002, -0.002])
        for by, expected in moved.items():
            assert self.judged(old, old + by + noise * (by != 0.0)).conclusion == expected

    def test_more_promises_kept_are_better(self):
        assert self.judged([0.5, 0.51, 0.52], [0.7, 0.71, 0.72], KEPT).conclusion == "better"

    def test_nobody_knows_what_to_wish_of_some_figures(self):
        assert self.judged([2.0, 2.1], [4.0, 4.1], "batch_size").conclusion == "higher"

    def test_what_cannot_be_measured_any_more_is_missing(self):
        row = self.judged([1.0, 1.1], [1.0, None])
        assert row.changed
        assert (row.old, row.new, row.difference) == (pytest.approx(1.05), None, None)

    def test_pairs_show_what_other_seeds_hide(self):
        old = [10.0, 20.0, 30.0, 40.0, 50.0]
        new = [10.6, 20.7, 30.65, 40.62, 50.66]
        assert self.judged(old, new).conclusion == "worse"
        assert self.judged(old, new, paired=False).conclusion == "no change shown"

    @pytest.mark.parametrize("paired", [True, False])
    def test_false_alarms_of_a_change_as_large_as_the_limit(self, paired):
        """The hardest case: nine figures at once, each changed by exactly what is allowed."""
        random = np.random.default_rng(5)
        metrics = {f"figure_{number}": Limit(size=0.5, relative=False) for number in range(9)}
        alarms = 0
        for _ in range(1000):
            old, new = (
                [Seen(1.0, {}, {metric: tuple(random.normal(mean, 1.0, 8)) for metric in metrics})]
                for mean in (10.0, 10.5)
            )
            alarms += any(row.changed for row in judge(old, new, metrics, 0.01, paired=paired))
        # At most 1 %: 10 expected at that rate, and 3 standard errors more.
        assert 0 < alarms <= 10 + 3 * np.sqrt(10)


@pytest.mark.long
def test_two_hundred_changes_of_seed_raise_no_more_alarms_than_stated(scenario):
    """One code, other random numbers: whatever differs is chance. Limits next to nothing leave it to the statistics."""
    curves = [record(scenario, replications=4, loads=(0.5, 1.0), seed=seed).recorded for seed in range(400)]
    seen = [
        [Seen(p.load, p.states, {name: figure.values for name, figure in p.figures.items()}) for p in curve.points]
        for curve in curves
    ]
    stated, tight = curves[0].limits, {name: Limit(size=1e-9, relative=True) for name in curves[0].limits}
    for limits in (stated, tight):
        alarms = sum(
            any(row.changed for row in judge(old, new, limits, 0.01, paired=False))
            for old, new in zip(seen[::2], seen[1::2], strict=True)
        )
        assert alarms <= 2  # 1 % of 200
