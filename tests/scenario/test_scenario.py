"""A scenario is one frozen document: its schema, its digest, and what its names must resolve to."""

from __future__ import annotations

import copy
import json

import pytest
from pydantic import ValidationError

from inferencesim.documents import canonical_json, document_digest
from inferencesim.errors import InputError
from inferencesim.kernel.tables import VERDICTS
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.plan import make_plan

TREE = {
    "name": "two-pools",
    "horizon": "10min",
    "pools": [
        {"name": "premium", "hardware": "nvidia-h100-sxm", "model": "llama-3.1-8b", "replicas": 2},
        {"name": "slow", "hardware": "nvidia-l4", "model": "llama-3.1-8b", "precision": "fp8", "site": "eu-ireland"},
    ],
    "workload": [
        {
            "name": "chat",
            "arrivals": {"process": "poisson", "rate": "4/s"},
            "prompt_tokens": 500,
            "output_tokens": 100,
            "models": ["llama-3.1-8b"],
        }
    ],
}


def tree(path: str = "", value: object = None) -> dict:
    """Return the scenario with the value at ``pools.0.replicas`` replaced."""
    changed = copy.deepcopy(TREE)
    place: object = changed
    steps = [int(step) if step.isdigit() else step for step in path.split(".")] if path else []
    for step in steps[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    if steps:
        place[steps[-1]] = value
    return changed


def scenario(path: str = "", value: object = None) -> Scenario:
    return Scenario.model_validate(tree(path, value))


def refused(path: str, value: object) -> InputError:
    with pytest.raises(InputError) as caught:
        make_plan(scenario(path, value))
    return caught.value


def test_the_defaults_are_the_documented_ones():
    plain = scenario()
    assert (plain.seed, plain.warm_up, plain.drain) == (0, 0.0, 600.0)
    assert plain.routing.placement.policy == "least_normalised_load"
    assert plain.routing.balancing.policy == "least_outstanding"
    assert plain.routing.snapshot_age == 0.0
    assert plain.recording.evidence == "full"


def test_a_scenario_is_frozen():
    with pytest.raises(ValidationError):
        scenario().seed = 5


def test_the_json_schema_can_be_generated_and_names_what_the_file_names():
    schema = Scenario.model_json_schema(by_alias=True)
    json.dumps(schema)
    assert {"schema", "name", "horizon", "pools", "workload"} <= schema["properties"].keys()
    assert "schema_version" not in schema["properties"]
    assert set(schema["required"]) == {"name", "horizon", "pools"}
    assert schema["additionalProperties"] is False


# --- Digest ------------------------------------------------------------------------------------------


def test_the_digest_is_of_the_content_not_of_the_writing():
    digest = document_digest(scenario())
    assert len(digest) == 64
    assert document_digest(scenario("horizon", 600)) == digest
    assert document_digest(Scenario.model_validate(dict(reversed(list(TREE.items()))))) == digest
    # What is written out as the default is the default.
    assert document_digest(scenario("routing", {"balancing": "least_outstanding"})) == digest
    assert document_digest(scenario("pools.0.precision", "bf16")) == digest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "other"),
        ("question", "why"),
        ("seed", 1),
        ("horizon", "601s"),
        ("warm_up", 1),
        ("drain", 1),
        ("pools.0.replicas", 3),
        ("pools.0.precision", {"kv": "fp8"}),
        ("pools.0.batching", {"block_size": 32}),
        ("pools.1.price", "$1/h"),
        ("workload.0.arrivals.rate", 4.0000001),
        ("workload.0.prompt_tokens", 501),
        ("workload.0.promise", {"ttft": 1}),
        ("routing", {"placement": {"policy": "cheapest_feasible", "parameters": {"margin": 0.7}}}),
        ("economics", {"pue": 1.0}),
        ("recording", {"evidence": "off"}),
    ],
)
def test_every_change_changes_the_digest(path, value):
    assert document_digest(scenario(path, value)) != document_digest(scenario())


def test_canonical_json_is_a_scenario_again():
    plain = scenario("workload.0.prompt_tokens", {"distribution": "lognormal", "median": 500, "p95": 2000})
    text = canonical_json(plain)
    again = Scenario.model_validate(json.loads(text))
    assert again == plain
    assert canonical_json(again) == text
    assert "\n" not in text
    assert list(json.loads(text)) == sorted(json.loads(text))


# --- Precision in short ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("bf16", ("bf16", "bf16", "bf16")),
        ("fp8", ("fp8", "fp8", "bf16")),
        ("int4", ("int4", "bf16", "bf16")),
        ({"weights": "fp8", "kv": "fp8"}, ("fp8", "fp8", "fp8")),
        ({"weights": "int4"}, ("int4", "bf16", "bf16")),
        ({"weights": "fp4", "activations": "fp8"}, ("fp4", "fp8", "bf16")),
        ({"kv": "fp8"}, ("bf16", "bf16", "fp8")),
    ],
)
def test_a_bare_precision_is_of_weights_and_activations(written, read):
    precision = scenario("pools.0.precision", written).pools[0].precision
    assert (precision.weights, precision.activations, precision.kv) == read


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pools.0.parallelism", {"tensor": 4, "expert": 3}),
        ("pools.0.batching", {"max_sequences": 512, "token_budget": 256}),
        ("pools.0.memory_share", 1.5),
        ("pools.0.name", "7up"),
        ("pools.0.queue_limit", -1),
        ("seed", -1),
        ("seed", 2**63),
        ("drain", -1),
        ("recording", {"series_interval": 0}),
        ("economics", {"pue": 0}),
        ("routing", {"snapshot_age": "-1s"}),
    ],
)
def test_what_can_not_be_is_refused(path, value):
    with pytest.raises(ValidationError):
        scenario(path, value)


# --- From names to things ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "where", "nearest"),
    [
        ("pools.1.hardware", "nvidia-h100-sxn", "pools[1].hardware", "nvidia-h100-sxm"),
        ("pools.1.hardware", "l40s", "pools[1].hardware", "nvidia-l40s"),
        ("pools.0.model", "llama-3.1-8", "pools[0].model", "llama-3.1-8b"),
        ("pools.0.engine", "vlm", "pools[0].engine", "vllm"),
        ("pools.0.site", "us-east-virgina", "pools[0].site", "us-east-virginia"),
        ("workload.0.models", ["llama-3.1-8b", "llama-3.1-7ob"], "workload[0].models[1]", "llama-3.1-70b"),
        ("routing", {"placement": "cheapest_feasable"}, "routing.placement.policy", "cheapest_feasible"),
        ("routing", {"balancing": "round_robbin"}, "routing.balancing.policy", "round_robin"),
        (
            "routing",
            {"placement": {"policy": "weighted_scorers", "parameters": {"prize": 1}}},
            "routing.placement.parameters.prize",
            "price",
        ),
    ],
)
def test_an_unknown_name_is_told_at_its_place_with_the_nearest(path, value, where, nearest):
    problem = refused(path, value)
    assert problem.where == where
    assert f"Did you mean '{nearest}'?" in str(problem)


def test_a_parameter_of_a_policy_without_any_is_refused():
    choice = {"placement": {"policy": "random", "parameters": {"seed": 1}}}
    problem = refused("routing", choice)
    assert problem.where == "routing.placement.parameters.seed"
    assert problem.remedy == "It takes none."


def test_a_class_that_no_pool_serves_is_told():
    problem = refused("workload.0.models", ["phi-4"])
    assert problem.where == "workload[0].models"
    assert "no pool serves phi-4" in str(problem)
    assert "llama-3.1-8b" in str(problem)


def test_a_pool_that_does_not_fit_is_told_with_its_index():
    assert refused("pools.1.model", "llama-3.1-70b").where == "pools[1]"
    assert refused("pools.1.precision", "fp4").where == "pools[1].precision"
    assert refused("pools.1.parallelism", {"tensor": 3}).where == "pools[1].parallelism.tensor"


def test_a_missing_trace_is_told_before_anything_runs():
    chat = {"name": "chat", "models": ["llama-3.1-8b"], "arrivals": {"process": "trace", "file": "/no/such.csv"}}
    problem = refused("workload.0", chat)
    assert problem.where == "workload[0].arrivals.file"
    assert "/no/such.csv" in str(problem)
    assert str(problem).endswith("name yours: --set workload.chat.arrivals.file=FILE.")


def test_the_economics_of_a_scenario_go_before_those_of_its_sites():
    plain, own = (
        make_plan(each)
        for each in (scenario(), scenario("economics", {"electricity": "$360/MWh", "pue": 2.0, "carbon": "36 g/kWh"}))
    )
    assert plain.pools[0].tariff != plain.pools[1].tariff
    for pool in own.pools:
        assert pool.tariff.usd_per_j == pytest.approx((1e-7,))
        assert pool.pue == 2.0
        assert pool.carbon_g_per_j == pytest.approx(1e-5)


def test_prices_of_a_pool_go_before_those_of_its_hardware():
    plan = make_plan(scenario("pools.0.price", "$7.2/h"))
    assert plan.pools[0].deployment.usd_per_s == pytest.approx(0.002)
    assert plan.pools[0].chip_tariff.usd_per_j == (0.0,)
    apart = make_plan(scenario("pools.0.price_includes_power", False)).pools[0]
    usd_per_j = apart.chip_tariff.at(0.0)
    assert usd_per_j == pytest.approx(apart.pue * apart.tariff.at(0.0))
    assert apart.usd_per_s(usd_per_j) > apart.usd_per_s(0.0) == apart.deployment.usd_per_s


def test_the_plan_counts_replicas_and_names_pools():
    plan = make_plan(scenario())
    assert plan.replicas == 3
    assert [pool.name for pool in plan.pools] == ["premium", "slow"]


@pytest.mark.parametrize(
    ("path", "value", "verdicts"),
    [
        ("", None, ["eligible", "eligible"]),
        ("workload.0.precision", "bf16", ["eligible", "precision_too_low"]),
        ("workload.0.precision", "fp8", ["eligible", "eligible"]),
        ("workload.0.residency", ["eu"], ["outside_residency", "eligible"]),
        ("workload.0.residency", ["us", "eu"], ["eligible", "eligible"]),
        ("pools.1.model", "qwen3-8b", ["eligible", "model_not_served"]),
    ],
)
def test_constraints_of_class_and_pool_are_settled_in_the_plan(path, value, verdicts):
    plan = make_plan(scenario(path, value))
    assert [VERDICTS[code] for code in plan.verdicts[0]] == verdicts
    assert set(verdicts) <= set(VERDICTS)


def test_a_plan_needs_no_workload():
    assert make_plan(scenario("workload", [])).verdicts.shape == (0, 2)
