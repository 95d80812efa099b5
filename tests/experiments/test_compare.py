"""Alternatives on the same random numbers: what is called a difference is one, and what is not is said."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work

from inferencesim import Scenario, compare, simulate
from inferencesim.documents import document_digest
from inferencesim.errors import InputError
from inferencesim.experiments import replications as played
from inferencesim.experiments.trials import seed_of
from inferencesim.statistics.intervals import paired_interval

COST, KEPT = "cost_per_completed_task_usd", "slo_attainment"
TABLE = {"shape": "table", "times": [0, 1], "factors": [1, 2]}


def fleet(replicas=2, rate=50.0, promise=0.0032, **said):
    chat = work("chat", rate=rate, promise={"ttft": promise}, output={"distribution": "uniform", "low": 10, "high": 30})
    return scenario([pool("only", replicas=replicas)], [chat], **{"horizon": 4.0, "warm_up": 1.0, "seed": 9} | said)


@pytest.fixture(scope="module")
def sizes():
    """Two replicas against three: dearer, and no slower."""
    return compare({"two": fleet(2), "three": fleet(3)}, replications=6)


def of(found, metric, alternative="three"):
    (row,) = (one for one in found.difference_rows if (one.metric, one.alternative) == (metric, alternative))
    return row


def test_every_replication_is_the_run_of_its_seed(sizes):
    trials = sizes.trials
    assert len(trials) == 12
    for replication in range(6):
        for name, replicas in (("two", 2), ("three", 3)):
            seed = seed_of(9, replication)
            summary = simulate(fleet(replicas), seed).summary
            (row,) = trials[(trials["alternative"] == name) & (trials["replication"] == replication)].to_dict("records")
            assert row["seed"] == seed
            assert row[COST] == summary.fleet.cost_per_completed_task_usd
            assert row["ttft_s.p99"] == summary.fleet.ttft_s.p99
            assert row["state"] == summary.verdict.state


def test_a_difference_is_that_of_pairs_corrected_for_all_that_are_made(sizes):
    assert sizes.comparisons == len(sizes.metrics) == 4
    trials = sizes.trials.pivot(index="replication", columns="alternative", values=COST)
    expected = paired_interval(trials["three"], trials["two"], 1.0 - 0.05 / 4)
    row = of(sizes, COST)
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high))
    assert row.relative == pytest.approx(row.difference / trials["two"].mean())
    assert row.conclusion == "worse"
    assert sizes.winner(COST) == "two"


def test_the_load_that_both_meet_drops_out_of_their_difference(sizes):
    trials = sizes.trials.pivot(index="replication", columns="alternative", values=COST)
    apart = trials["two"].var() + trials["three"].var()
    row = of(sizes, COST)
    assert row.variance_ratio == pytest.approx((trials["three"] - trials["two"]).var() / apart)
    assert row.variance_ratio < 0.2


def test_more_machines_change_no_load(sizes):
    found = compare({"two": fleet(2), "three": fleet(3)}, metrics=["arrived"], replications=3)
    row = of(found, "arrived")
    assert (row.difference, row.low, row.high, row.conclusion) == (0.0, 0.0, 0.0, "no difference shown")


def test_what_is_neither_better_nor_worse_is_higher_or_lower():
    found = compare({"two": fleet(2), "three": fleet(3)}, metrics=["utilisation"], replications=3)
    assert of(found, "utilisation").conclusion == "lower"
    assert found.winner("utilisation") is None


def test_what_is_asked_for_twice_is_compared_once_and_scenarios_are_known_by_their_digest():
    found = compare({"two": fleet(2), "three": fleet(3)}, metrics=[COST, COST], replications=2)
    assert (found.metrics, found.comparisons, len(found.difference_rows)) == ((COST,), 1, 1)
    assert found.alternatives[1].scenario_digest == document_digest(fleet(3))


def test_twins_do_not_differ():
    found = compare([fleet(), fleet()], replications=4)
    assert {row.conclusion for row in found.difference_rows} == {"no difference shown"}
    assert {row.difference for row in found.difference_rows} == {0.0}
    assert all(found.winner(metric) is None for metric in found.metrics)


def test_the_best_is_compared_with_all_others_for_all_pairs():
    found = compare({"two": fleet(2), "three": fleet(3), "four": fleet(4)}, against="best", metrics=[COST, KEPT],
                    replications=3)  # fmt: skip
    assert found.comparisons == 2 * 3
    assert {row.against for row in found.difference_rows if row.metric == COST} == {"two"}
    assert found.winner(COST) == "two"


class TestUntilItIsKnown:
    @pytest.mark.long
    def test_the_first_stage_says_how_many_replications_the_half_width_takes(self):
        found = compare({"two": fleet(2), "three": fleet(3)}, metrics=["ttft_s.p99"], half_width=0.03, replications=5)
        assert found.reached
        assert found.replications > 5
        row = of(found, "ttft_s.p99")
        trials = found.trials
        base = trials[(trials["alternative"] == "two") & (trials["replication"] < 5)]["ttft_s.p99"].mean()
        assert 0.02 * base < (row.high - row.low) / 2.0 <= 0.03 * base
        assert len(found.trials) == 2 * found.replications

    def test_what_is_known_already_takes_no_more(self):
        found = compare({"two": fleet(2), "three": fleet(3)}, half_width=0.5, replications=3)
        assert (found.replications, found.reached) == (3, True)

    def test_a_maximum_that_is_met_is_said(self):
        found = compare(
            {"two": fleet(2), "three": fleet(3)}, metrics=["ttft_s.p99"], half_width=1e-4, replications=3, at_most=4
        )
        assert (found.replications, found.reached) == (4, False)
        assert any("needs about" in note and "4 were allowed" in note for note in found.notes)


class TestWarmUp:
    def test_a_fleet_that_takes_long_to_fill_is_not_measured_before(self):
        slow = fleet(rate=10.0, horizon=12.0, warm_up=0.0)
        tree = slow.model_dump(mode="json", by_alias=True)
        tree["workload"][0]["output_tokens"] = 400
        slow = Scenario.model_validate(tree)
        found = compare({"a": slow, "b": slow.model_copy(update={"drain": 900.0})}, replications=3, metrics=["arrived"])
        (warm_up,) = set(found.warm_up_s.values())
        assert 0.5 < warm_up < 6.0
        assert "left out as warm-up by MSER-5" in found.notes[0]
        later = simulate(slow.model_copy(update={"warm_up": warm_up})).summary
        assert found.trials["arrived"][0] == later.fleet.arrived < simulate(slow).summary.fleet.arrived

    def test_a_warm_up_that_is_long_enough_stays(self, sizes):
        assert set(sizes.warm_up_s.values()) == {1.0}
        assert "the warm-up of 1 s is enough" in sizes.notes[0]

    def test_a_load_that_changes_is_compared_as_a_whole(self):
        changing = fleet().model_dump(mode="json", by_alias=True)
        changing["workload"][0]["arrivals"]["profile"] = TABLE
        found = compare([changing], policies=["random", "least_kv"], replications=2)
        assert found.notes[0].startswith("Whole periods are compared")
        assert "the rate of chat follows a profile" in found.notes[0]
        assert set(found.warm_up_s.values()) == {1.0}

    def test_a_fleet_that_never_settles_is_named(self):
        found = compare({"enough": fleet(2), "drowns": fleet(1, rate=700.0)}, replications=2)
        assert "In half of the horizon it finds no end of the warm-up of drowns" in found.notes[0]
        assert any("drowns: unstable in 2 of 2 replications" in note for note in found.notes)
        states = {each.name: each.states for each in found.alternatives}
        assert states == {"enough": {"stable": 2}, "drowns": {"unstable": 2}}


def test_where_nothing_is_random_it_is_said():
    at_once = work("chat") | {"arrivals": {"process": "burst", "requests": 40}}
    found = compare(
        {"one": scenario([pool()], [at_once]), "two": scenario([pool(replicas=2)], [at_once])}, replications=3
    )
    assert any("nothing here is random" in note for note in found.notes)
    assert of(found, COST, "two").conclusion in ("better", "worse")


def test_a_policy_that_knows_too_much_is_a_bound():
    known = work("chat", length_prediction={"sigma": 0})
    found = compare({order: scenario([pool(batching={"order": order})], [known]) for order in ("fcfs", "sjf")},
                    replications=2)  # fmt: skip
    assert [each.oracle for each in found.alternatives] == [False, True]
    assert any(note.startswith("sjf is a bound") for note in found.notes)


def test_other_work_is_named():
    found = compare({"a": fleet(), "b": fleet(rate=60.0)}, replications=2)
    assert any("do not ask the same work" in note for note in found.notes)


class TestFailures:
    @pytest.fixture
    def one_fails(self, monkeypatch):
        inner = played.run_of

        def run_of(plan):
            if plan.scenario.seed == seed_of(9, 1) and plan.pools[0].replicas == 3:
                msg = "the kernel\nlost its way"
                raise ArithmeticError(msg)
            return inner(plan)

        monkeypatch.setattr(played, "run_of", run_of)

    def test_a_replication_that_fails_is_named_and_left_out_with_its_pair(self, one_fails):
        found = compare({"two": fleet(2), "three": fleet(3)}, replications=4)
        assert [each.failed for each in found.alternatives] == [0, 1]
        assert any("three: 1 of 4 replications failed" in note and "lost its way" in note for note in found.notes)
        assert of(found, COST).replications == 3
        assert found.trials["error"].notna().sum() == 1

    def test_with_none_left_nothing_is_concluded(self, monkeypatch):
        inner = played.run_of

        def run_of(plan):
            if plan.pools[0].replicas == 3:
                raise MemoryError
            return inner(plan)

        monkeypatch.setattr(played, "run_of", run_of)
        found = compare({"two": fleet(2), "three": fleet(3)}, replications=2)
        assert {row.conclusion for row in found.difference_rows} == {"unknown"}
        monkeypatch.setattr(played, "run_of", lambda plan: 1 / 0)
        with pytest.raises(InputError, match="no alternative can be played: ZeroDivisionError"):
            compare({"two": fleet(2), "three": fleet(3)}, replications=2)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"replications": 1}, "--replications: 1 leave no interval"),
        ({"replications": 0}, "--replications"),
        ({"confidence": 1.0}, "--confidence: 1 is not between 0 and 1"),
        ({"half_width": 0.0}, "--half-width: 0 is not above zero"),
        ({"half_width": 0.1, "at_most": 5}, "--at-most: 5 is below the first 10"),
        ({"metrics": ["ttft"]}, "no summary has 'ttft'"),
        ({"against": "tow"}, "no alternative is called 'tow'. Did you mean 'two'"),
        ({"policies": ["randon", "least_kv"]}, "Did you mean 'random'"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_played(said, why, monkeypatch):
    monkeypatch.setattr(played, "run_of", lambda plan: pytest.fail("it was played"))
    with pytest.raises(InputError) as problem:
        compare({"two": fleet(2), "three": fleet(3)}, **said)
    assert why in str(problem.value)


def test_a_load_of_nothing_is_refused():
    with pytest.raises(InputError, match="no request arrives"):
        compare([fleet(rate=1e-9)], policies=["random", "least_kv"])


def test_a_metric_that_a_replication_lacks_is_unknown():
    """At this rate, some seeds bring no request at all into the window."""
    rare = fleet(rate=1.0, horizon=2.0)
    found = compare([rare], policies=["random", "least_kv"], replications=4, seed=25, metrics=["ttft_s.p99"])
    assert found.trials["ttft_s.p99"].isna().any()
    assert {row.conclusion for row in found.difference_rows} == {"unknown"}


@pytest.mark.long
def test_several_processes_say_the_same():
    longer = {"two": fleet(2, horizon=60.0), "three": fleet(3, horizon=60.0)}
    alone, together = (compare(longer, replications=8, jobs=jobs) for jobs in (1, 2))
    assert alone == together
