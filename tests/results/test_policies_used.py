"""Who decided in a run, and who of them knew the future."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work

from inferencesim import simulate
from inferencesim.results.manifest import make_manifest
from inferencesim.results.policies import policies_of
from inferencesim.simulation.plan import make_plan


def plan(order="fcfs", prediction=None, **batching):
    predicted = {} if prediction is None else {"length_prediction": prediction}
    pools = [pool("a", batching={"order": order, **batching}), pool("b")]
    return make_plan(scenario(pools, [work("chat", **predicted), work("other")]))


def test_each_pool_says_how_it_forms_its_batches():
    sorting = {"policy": "sjf", "parameters": {"prompt_weight": 2.0}}
    batching = {"policy": "dynamic", "parameters": {"size": 4}}
    a, b = policies_of(plan(sorting, policy=batching)).batching
    assert (a.pool, a.policy.policy, a.policy.parameters) == ("a", "dynamic", {"size": 4})
    assert (a.order.policy, a.order.parameters) == ("sjf", {"prompt_weight": 2.0})
    assert (b.pool, b.policy.policy, b.order.policy) == ("b", "chunked_prefill", "fcfs")


@pytest.mark.parametrize(
    ("order", "prediction", "oracle"),
    [
        ("sjf", {"sigma": 0}, True),
        ("sjf", {"sigma": 0, "bias": 1.2}, False),
        ("sjf", {"sigma": 0.5}, False),
        ("sjf", None, False),
        ("fcfs", {"sigma": 0}, False),
    ],
)
def test_an_order_by_lengths_predicted_without_error_is_an_oracle(order, prediction, oracle):
    described = plan(order, prediction)
    policies = policies_of(described)
    assert policies.oracle is oracle
    assert policies.batching[0].order.oracle is oracle
    assert policies.batching[1].order.oracle is False
    assert policies.oracles == (("order of a sjf",) if oracle else ())
    assert make_manifest(described).oracle is oracle


def test_the_summary_says_so():
    summary = simulate(plan("sjf", {"sigma": 0}).scenario).summary
    assert summary.oracle
    assert [each.order.oracle for each in summary.policies.batching] == [True, False]
