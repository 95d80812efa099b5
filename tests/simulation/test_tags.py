"""What the tags of a class decide between scenario and kernel."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from oracle.small import pool, scenario, work

from inferencesim.errors import InputError
from inferencesim.kernel.tables import ELIGIBLE, INTERACTIVE, MODEL_NOT_SERVED, RELAXED, STANDARD
from inferencesim.scenario.workload import SENSITIVITIES, Tags
from inferencesim.simulation.footprint import footprints
from inferencesim.simulation.plan import make_plan
from inferencesim.simulation.state import new_fleet
from inferencesim.simulation.traits import class_means, placement_traits
from inferencesim.workload.graphs import unroll
from inferencesim.workload.load import generate_load

WAITING = {"human_waiting": True}


def load_of(plan):
    """Return the graphs and the open-loop requests of a plan."""
    load = generate_load(plan.scenario.workload, plan.scenario.horizon, plan.scenario.seed, Path())
    return unroll(plan.scenario, load)


def means_of(plan):
    graphs, load = load_of(plan)
    return class_means(plan, load, graphs)


def traits_of(pools, workload):
    plan = make_plan(scenario(pools, workload))
    return placement_traits(plan, means_of(plan))


@pytest.mark.parametrize(
    ("tags", "sensitivity"),
    [
        ({}, "standard"),
        ({"human_waiting": True}, "interactive"),
        ({"batchable": True}, "relaxed"),
        ({"human_waiting": True, "batchable": True}, "interactive"),
        ({"human_waiting": True, "latency_sensitivity": "standard"}, "standard"),
        ({"batchable": True, "latency_sensitivity": "interactive"}, "interactive"),
        ({"latency_sensitivity": "relaxed"}, "relaxed"),
    ],
)
def test_how_soon_answers_are_wanted(tags, sensitivity):
    assert Tags.model_validate(tags).sensitivity == sensitivity


def test_the_kernel_knows_sensitivities_by_their_places():
    assert SENSITIVITIES[INTERACTIVE] == "interactive"
    assert SENSITIVITIES[STANDARD] == "standard"
    assert SENSITIVITIES[RELAXED] == "relaxed"
    tagged = [work("a", tags=WAITING), work("b"), work("c", tags={"batchable": True})]
    plan = make_plan(scenario([pool()], tagged))
    graphs, load = load_of(plan)
    fleet = new_fleet(plan, load, graphs, class_means(plan, load, graphs))
    assert fleet.classes["sensitivity"].tolist() == [INTERACTIVE, STANDARD, RELAXED]


def verdicts(pools, **said):
    return make_plan(scenario(pools, [work(models=("small-model", "expert-model"), **said)])).verdicts[0].tolist()


def test_a_high_fallback_risk_leaves_the_first_model_alone():
    pools = [pool("a", serves="expert-model"), pool("b")]
    assert verdicts(pools) == [ELIGIBLE, ELIGIBLE]
    assert verdicts(pools, tags={"fallback_risk": "high"}) == [MODEL_NOT_SERVED, ELIGIBLE]
    risky = work(models=("llama-3.1-8b", "small-model"), tags={"fallback_risk": "high"})
    with pytest.raises(InputError, match=r"workload\[0\].models: no pool serves llama-3.1-8b\."):
        make_plan(scenario([pool()], [risky]))


class TestInteractivePromises:
    """What a pool is told of the promises to those who wait."""

    def test_are_the_tightest_of_the_interactive_classes(self):
        workload = [
            work("a", tags=WAITING, promise={"ttft": 3.0, "tpot": 0.5}),
            work("b", tags=WAITING, promise={"ttft": 2.0, "tpot": 0.9}),
            work("c", promise={"ttft": 1.0, "tpot": 0.1}),
        ]
        row = traits_of([pool()], workload)[0]
        assert (row["interactive_ttft_s"], row["interactive_tpot_s"]) == (2.0, 0.5)

    def test_count_an_e2e_per_token(self):
        row = traits_of([pool()], [work(output=20, tags=WAITING, promise={"e2e": 10.0})])[0]
        assert math.isinf(row["interactive_ttft_s"])
        assert row["interactive_tpot_s"] == pytest.approx(0.5)

    def test_do_not_bind_a_pool_that_cannot_keep_them_or_may_not_serve_them(self):
        impossible = work("a", tags=WAITING, promise={"ttft": 2.0, "tpot": 1e-9})
        assert math.isinf(traits_of([pool()], [impossible])[0]["interactive_ttft_s"])
        hasty = work("a", tags=WAITING, promise={"ttft": 1e-9, "tpot": 2.0})
        assert math.isinf(traits_of([pool()], [hasty])[0]["interactive_tpot_s"])
        elsewhere = work("a", models=("expert-model",), tags=WAITING, promise={"ttft": 2.0})
        traits = traits_of([pool("p"), pool("q", serves="expert-model")], [elsewhere, work("b")])
        assert math.isinf(traits[0]["interactive_ttft_s"])
        assert traits[1]["interactive_ttft_s"] == 2.0


class TestFootprint:
    def test_is_of_a_mean_request_where_it_is_fastest(self):
        plan = make_plan(scenario([pool()], [work(prompt=100, output=28)]))
        (size,) = footprints(plan, means_of(plan))
        deployment = plan.pools[0].deployment
        assert (size.pool, size.context_tokens) == ("p", 128.0)
        assert size.kv_bytes == pytest.approx(128 * deployment.kv_block_bytes / deployment.batching.block_size)
        assert size.alone_s == pytest.approx(deployment.alone_s(100, 28))

    def test_is_unknown_of_a_class_that_may_run_nowhere(self):
        plan = make_plan(scenario([pool()], [work(kind="embedding", output=None)]))
        (size,) = footprints(plan, means_of(plan))
        assert (size.pool, size.kv_bytes, size.alone_s) == (None, None, None)
