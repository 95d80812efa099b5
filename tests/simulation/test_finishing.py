"""What is left to do when a simulation stops, held against what the same run was charged when it went on."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work

from inferencesim import simulate

MIXED = {"distribution": "uniform", "low": 10, "high": 200}
CROWDED = {"max_sequences": 16}
DRAFTS = {"drafts": 3, "acceptance": 0.7, "draft": {"layers": 0}}


def played(pools, classes, drain, **said):
    return simulate(scenario(pools, classes, drain=drain, **said))


def charged(pools, classes, **said):
    """Return what was left to do of each class at the horizon, and the rows of what was inside, then and in the end."""
    early, late = (played(pools, classes, drain, **said) for drain in (0.0, 1000.0))
    before, after = (run.requests.set_index("request_id") for run in (early, late))
    inside = before.index[before["outcome"] == "open"]
    assert (after.loc[inside, "outcome"] == "completed").all()
    return early.summary, before.loc[inside], after.loc[inside]


def growth(before, after, *columns):
    return sum((after[name] - before[name]).sum() for name in columns)


@pytest.mark.parametrize(
    ("pools", "rate"),
    [
        pytest.param([pool("a", replicas=3)], 400.0, id="batches that grow"),
        pytest.param([pool("a", batching=CROWDED)], 2000.0, id="a queue"),
        pytest.param([pool("a", replicas=2), pool("b", "fast-chip", kv_blocks=100)], 600.0, id="two pools"),
        pytest.param([pool("d", prefill_in={"pool": "p"}), pool("p", "fast-chip")], 400.0, id="prefill elsewhere"),
        pytest.param([pool("a", kv_blocks=60)], 600.0, id="preemption"),
        pytest.param([pool("a", batching=CROWDED, speculation=DRAFTS)], 600.0, id="drafts"),
    ],
)
def test_the_forecast_is_within_30_percent_of_what_was_then_charged(pools, rate):
    summary, before, after = charged(pools, [work(rate=rate, prompt=MIXED, output=MIXED)])
    left = summary.fleet.to_finish
    assert left.requests == len(before) > 100
    assert left.replica_s == pytest.approx(growth(before, after, "busy_s", "prefill_busy_s"), rel=0.3)
    assert left.cost_usd == pytest.approx(growth(before, after, "attributed_cost_usd"), rel=0.3)


def test_the_batch_of_a_handful_shrinks_until_the_last_is_alone():
    summary, before, after = charged([pool("a")], [work(rate=20.0, prompt=MIXED, output=MIXED)])
    assert 5 < len(before) < 20
    assert summary.fleet.to_finish.replica_s == pytest.approx(growth(before, after, "busy_s"), rel=0.1)


def test_prompts_that_wait_are_most_of_it_where_answers_are_short():
    summary, before, after = charged([pool("a", batching=CROWDED)], [work(rate=2000.0, prompt=400, output=2)])
    assert summary.fleet.to_finish.prompt_tokens > 100 * summary.fleet.to_finish.output_tokens
    real_s = growth(before, after, "busy_s")
    assert summary.fleet.to_finish.replica_s == pytest.approx(real_s, rel=0.3)


def test_power_paid_apart_is_in_the_price():
    paying = pool("a", price="$0.1/h", price_includes_power=False)
    said = {"economics": {"electricity": "$3.6/kWh", "pue": 1.5}}
    summary, before, after = charged([paying], [work(rate=400.0, prompt=MIXED, output=MIXED)], **said)
    usd = growth(before, after, "attributed_cost_usd")
    assert usd > 2.0 * growth(before, after, "busy_s") * 0.1 / 3600.0
    assert summary.fleet.to_finish.cost_usd == pytest.approx(usd, rel=0.3)


def test_classes_sum_to_the_fleet_and_tokens_are_those_not_yet_made():
    late = work("late", rate=200.0, prompt=MIXED, output=MIXED, promise={"ttft": 0.001})
    batch = work("batch", rate=100.0, prompt=50, output=300, promise={"deadline": "1h"})
    summary, before, _ = charged([pool("a"), pool("b")], [late, batch, work("free", rate=100.0)])
    of_classes = [each.to_finish for each in summary.classes]
    for name, whole in summary.fleet.to_finish.model_dump().items():
        assert sum(getattr(each, name) for each in of_classes) == pytest.approx(whole)
    for each in summary.classes:
        own = before[before["class"] == each.name]
        assert each.to_finish.requests == len(own)
        assert each.to_finish.output_tokens == (own["output_tokens"] - own["generated_tokens"]).sum()
        assert each.to_finish.cost_usd > 0.0
    assert [each.promises_open for each in of_classes] == [
        int(before[before["class"] == name]["promise_kept"].isna().sum()) for name in ("late", "batch")
    ] + [0]
    assert of_classes[0].promises_open < of_classes[0].requests
    assert of_classes[1].promises_open == of_classes[1].requests


def test_where_all_is_done_there_is_none():
    summary = played([pool("a")], [work(), work("b")], 1000.0).summary
    assert summary.fleet.to_finish is None
    assert [each.to_finish for each in summary.classes] == [None, None]


def test_a_class_that_has_none_inside_has_none_left():
    summary = played([pool("a")], [work(rate=400.0), work("quiet", active={"from": 5.0})], 0.0).summary
    assert summary.classes[0].to_finish.requests > 0
    assert summary.classes[1].to_finish is None
