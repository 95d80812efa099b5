"""Bad answers and none: who is asked again, how often, by whom it is paid, and that luck is the call's own."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import pool, run, scenario, work

from inferencesim.models.catalog import load_model
from inferencesim.models.quality import default_curve, in_precision
from inferencesim.results.summarise import summarise
from inferencesim.scenario.answers import Curve

SMALL, LARGE = "small-model", "expert-model"
#: Curves so steep that a difficulty settles what each model can do.
STEEP = {
    SMALL: {"ability": 0.3, "slope": 0.001, "ceiling": 1.0},
    LARGE: {"ability": 0.7, "slope": 0.001, "ceiling": 1.0},
}
EVENLY = {"distribution": "uniform", "low": 0.0, "high": 1.0}


def two_models(**said):
    return [pool("small", **said), pool("large", serves=LARGE, **said)]


def judged(difficulty=EVENLY, rate=40.0, retry=None, models=(SMALL, LARGE), **answers):
    said = {"answers": {"difficulty": difficulty, "curves": STEEP, "start": "first", **answers}}
    if retry is not None:
        said["retry"] = retry
    return work("c", rate=rate, prompt=10, output=3, models=models, **said)


def played(*classes, pools=None, **said):
    return run(scenario(pools or two_models(), list(classes), **{"horizon": 4.0, **said}))


def attempts(done):
    """Return the models and answers of each task's attempts, in their order."""
    requests = done.requests.sort_values(["task", "attempt"])
    return requests.groupby("task").agg({"pool": list, "answer": list})


def test_a_cascade_goes_on_to_the_model_that_can_and_fails_where_none_does():
    done = played(judged())
    nodes = done.simulation.gateway.graphs.nodes
    for task, row in attempts(done).iterrows():
        difficulty = nodes["difficulty"][nodes["task"] == _row_of(done, task)][0]
        if difficulty < 0.3:
            assert (row["pool"], row["answer"]) == (["small"], ["good"])
        elif difficulty < 0.7:
            assert (row["pool"], row["answer"]) == (["small", "large"], ["bad", "good"])
        else:
            assert (row["pool"], row["answer"]) == (["small", "large"], ["bad", "bad"])
    every = done.frame("tasks")
    assert (every["outcome"] == "failed").mean() == pytest.approx(0.3, abs=0.12)
    assert set(every["escalations"]) == {0, 1}


def _row_of(done, number):
    tasks = done.simulation.gateway.graphs.tasks
    return int(np.flatnonzero(tasks["number"] == number)[0])


def test_where_it_starts_is_what_the_class_says():
    by_difficulty = played(judged(start={"threshold": 0.5}))
    first = by_difficulty.requests[by_difficulty.requests["attempt"] == 0].set_index("task")
    nodes = by_difficulty.simulation.gateway.graphs.nodes
    hard = [nodes["difficulty"][_row_of(by_difficulty, task)] > 0.5 for task in first.index]
    assert ((first["pool"] == "large") == hard).all()
    free = played(judged(start="any"))
    assert set(free.requests[free.requests["attempt"] == 0]["pool"]) == {"small", "large"}


def test_a_noisy_prediction_sends_some_work_to_the_wrong_model():
    done = played(judged(start={"threshold": 0.5, "sigma": 0.3}))
    first = done.requests[done.requests["attempt"] == 0].set_index("task")
    nodes = done.simulation.gateway.graphs.nodes
    hard = np.array([nodes["difficulty"][_row_of(done, task)] > 0.5 for task in first.index])
    wrong = ((first["pool"] == "large").to_numpy() != hard).mean()
    assert 0.05 < wrong < 0.45


def test_retries_of_a_bad_answer_never_exceed_their_budget_per_model():
    done = played(judged(difficulty=0.9, retries=2))
    for _, row in attempts(done).iterrows():
        assert row["pool"] == ["small"] * 3 + ["large"] * 3
    every = done.frame("tasks")
    assert (every["retries"] == 4).all()
    assert (every["escalations"] == 1).all()
    alone = played(judged(difficulty=0.9, retries=2, escalate=False))
    assert (alone.frame("tasks")["calls"] == 3).all()


def test_a_bad_answer_nobody_notices_is_taken_and_counted_as_wrong():
    done = played(judged(difficulty=0.9, noticed=0.4, escalate=False), horizon=10.0)
    every = done.frame("tasks")
    taken = every["outcome"] == "completed"
    assert (every["wrong"] == taken).all()
    assert taken.mean() == pytest.approx(0.6, abs=0.1)
    (summary,) = summarise(done.result).tasks
    assert summary.good == 0.0


def test_noticing_takes_its_time_and_a_person_theirs_and_their_price():
    person = {"price": 4.0, "time": 30.0}
    done = played(judged(difficulty=0.9, check=2.0, person=person))
    every = done.frame("tasks")
    assert (every["outcome"] == "completed").all()
    assert (every["people"] == 1).all()
    assert (every["people_usd"] == 4.0).all()
    took = done.requests.groupby("task")["e2e_s"].sum()
    np.testing.assert_allclose(every.set_index("task").sort_index()["task_latency_s"], took + 2 * 2.0 + 30.0)
    summary = summarise(done.result)
    (task,) = summary.tasks
    paid = [row for row in summary.ledger if row.pool == "people"]
    assert sum(row.cost_usd for row in paid) == task.people_usd
    # A person makes the task dearer, not the tokens.
    tokens_usd = (
        summary.fleet.usd_per_million_output_tokens * summary.fleet.output_tokens_per_s * summary.window.length_s
    )
    assert tokens_usd / 1e6 == pytest.approx(summary.fleet.cost_usd - task.people_usd)
    assert sum(row.cost_usd for row in summary.ledger) == pytest.approx(summary.fleet.cost_usd, rel=1e-12)
    # Who was handed over after the horizon is paid after it.
    assert 0 < task.people_usd <= 4.0 * len(every)


def test_what_a_bad_answer_cost_is_wasted():
    done = played(judged(difficulty=0.5))
    every, requests = done.frame("tasks"), done.requests
    bad = requests[requests["answer"] == "bad"]["attributed_cost_usd"].sum()
    assert 0 < bad < requests["attributed_cost_usd"].sum()
    assert every["wasted_cost_usd"].sum() == pytest.approx(bad)


def test_cheaper_per_token_can_be_dearer_per_completed_task():
    """The small model costs half; most of its answers have to be thrown away."""
    hard = 0.5
    curves = {SMALL: {"ability": 0.3, "slope": 0.1}, LARGE: {"ability": 0.7, "slope": 0.1}}

    def costs(models):
        each = judged(difficulty=hard, retries=1000, escalate=False, rate=2.0) | {"models": models}
        each["answers"]["curves"] = {name: curves[name] for name in models}
        serves = models[0]
        price = {SMALL: 1.0, LARGE: 2.0}[serves]
        done = played(each, pools=[pool("p", serves=serves, price=price)], horizon=20.0)
        return done.frame("tasks")["attributed_cost_usd"].sum(), done.requests

    small_usd, small = costs([SMALL])
    large_usd, large = costs([LARGE])
    per_call = small_usd / len(small), large_usd / len(large)
    assert per_call[0] < per_call[1]
    assert small_usd > large_usd


def test_luck_is_the_calls_own_whoever_serves_it():
    """Two policies meet the same answers; a better model is right wherever a worse one is, attempt by attempt."""
    gentle = {"curves": {SMALL: {"ability": 0.4, "slope": 0.2}}, "models": (SMALL,)}
    one = played(judged(escalate=False, **gentle), pools=[pool("small")])
    other = played(judged(escalate=False, **gentle), pools=[pool("small", replicas=3)])
    assert (one.requests.set_index("task")["answer"] == other.requests.set_index("task")["answer"]).all()
    better = judged(escalate=False, curves={SMALL: {"ability": 0.6, "slope": 0.2}}, models=(SMALL,))
    large = played(better, pools=[pool("small")])
    small_good = one.requests.set_index("task")["answer"] == "good"
    large_good = large.requests.set_index("task")["answer"] == "good"
    assert (large_good | ~small_good).all()
    assert large_good.sum() > small_good.sum()


def test_the_share_of_good_answers_follows_the_curve():
    done = played(
        judged(
            difficulty=0.5,
            escalate=False,
            curves={SMALL: {"ability": 0.45, "slope": 0.1, "ceiling": 0.9}},
            models=(SMALL,),
        ),
        pools=[pool("small")],
        horizon=20.0,
    )
    expected = 0.9 / (1 + np.exp((0.5 - 0.45) / 0.1))
    good = done.requests["answer"] == "good"
    assert good.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / len(good)))


#: One seat, and one token of prompt per step.
TINY = {"max_sequences": 1, "token_budget": 1, "block_size": 4}


class TestNobodyAnswered:
    def test_a_rejected_request_is_sent_again_after_a_pause_that_doubles(self):
        each = work("c", rate=30.0, prompt=30, output=2, retry={"attempts": 3, "back_off": 0.25})
        done = played(each, pools=[pool(batching=TINY, queue_limit=1)], horizon=2.0)
        every = done.frame("tasks")
        assert every["calls"].max() == 4
        assert (every["calls"] <= 4).all()
        lost = done.requests[done.requests["task"].isin(every["task"][every["outcome"] == "failed"])]
        gaps = lost.sort_values(["task", "attempt"]).groupby("task")["arrived_s"].agg(np.diff)
        assert len(gaps) > 3
        for each_gap in gaps:
            np.testing.assert_allclose(each_gap, [0.25, 0.5, 1.0], rtol=1e-9)

    def test_only_what_is_named_is_sent_again(self):
        each = work("c", rate=30.0, prompt=30, output=2, timeout=0.05, retry={"attempts": 3, "after": ["rejected"]})
        done = played(each, pools=[pool(batching=TINY)], horizon=1.0)
        late = done.requests[done.requests["outcome"] == "timed_out"]
        assert len(late) > 3
        assert (late["attempt"] == 0).all()
        again = played(
            {**each, "retry": {"attempts": 3, "after": ["timed_out"]}}, pools=[pool(batching=TINY)], horizon=1.0
        )
        assert again.requests["attempt"].max() == 3

    def test_the_load_is_the_same_with_and_without_retries(self):
        plain = work("c", rate=30.0, prompt={"distribution": "uniform", "low": 5, "high": 50}, output=2)
        plain["prompt_tokens"] = {"distribution": "uniform", "low": 5, "high": 50}
        without = played(plain, pools=[pool()], horizon=2.0).requests
        followed = played({**plain, "retry": {"attempts": 3}}, pools=[pool()], horizon=2.0).requests
        for name in ("arrived_s", "prompt_tokens", "output_tokens", "first_token_s", "finished_s"):
            np.testing.assert_array_equal(without.sort_values("task")[name], followed.sort_values("task")[name])


def test_shipped_curves_rise_with_parameters_and_fall_with_coarser_weights():
    small, large = (default_curve(load_model(name, "model")) for name in ("llama-3.1-8b", "llama-3.1-70b"))
    assert small.ability < large.ability
    losses = [in_precision(large, name).ability for name in ("bf16", "fp8", "int8", "int4")]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == large.ability
    assert isinstance(small, Curve)


def test_a_class_may_not_state_a_curve_of_a_model_it_does_not_ask():
    with pytest.raises(ValueError, match="none of the class's models"):
        played(judged(curves={"llama-3.1-8b": {"ability": 0.5}}))


def test_closed_loops_cannot_be_followed_up():
    with pytest.raises(ValueError, match="closed loop"):
        played(judged() | {"arrivals": {"process": "closed", "clients": 2, "think_time": 1.0}})
