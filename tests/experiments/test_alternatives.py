"""What is compared, and what it is called."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work

from inferencesim.errors import InputError
from inferencesim.experiments.alternatives import alternatives, same_load
from inferencesim.scenario.policies import PolicyChoice


def described(name="test", **said):
    return scenario([pool()], [work()], **said).model_copy(update={"name": name})


def test_every_scenario_under_every_policy_is_named_by_what_tells_it_apart():
    found = alternatives([described("a"), described("b")], ["random", "least_kv"])
    assert list(found) == ["a / random", "a / least_kv", "b / random", "b / least_kv"]
    assert found["b / least_kv"].routing.placement.policy == "least_kv"
    found = alternatives([described()], ["random"], ["least_kv", "power_of_two"])
    assert list(found) == ["least_kv", "power_of_two"]
    assert found["power_of_two"].routing.balancing.policy == "power_of_two"
    assert found["power_of_two"].routing.placement.policy == "random"


def test_the_variants_of_one_scenario_are_named_by_themselves():
    varied = described().model_copy(update={"variant": "larger"})
    assert list(alternatives([described(), varied])) == ["as it is", "larger"]


def test_what_a_user_calls_them_comes_first():
    found = alternatives([described(), described()], ["random", "least_kv"], names=["old", "new"])
    assert list(found) == ["old / random", "old / least_kv", "new / random", "new / least_kv"]


def test_those_that_are_alike_have_numbers():
    assert list(alternatives([described(), described()])) == ["1", "2"]


def test_a_policy_that_a_scenario_uses_keeps_its_parameters():
    own = PolicyChoice(policy="cheapest_first", parameters={"full_at": 0.5})
    routed = described(routing={"placement": own.model_dump()})
    found = alternatives([routed], ["cheapest_first", "premium_first"])
    assert found["cheapest_first"].routing.placement == own
    assert found["premium_first"].routing.placement.parameters == {}


def test_one_alone_is_nothing_to_compare():
    with pytest.raises(InputError, match="nothing to compare with"):
        alternatives([described()], ["random"])


@pytest.mark.parametrize(("option", "place"), [("--policy", 0), ("--balancing", 1)])
def test_a_policy_is_not_compared_with_itself(option, place):
    policies = [["random", "least_kv"], ["random", "least_kv"]]
    policies[place].append("random")
    with pytest.raises(InputError, match=f"^{option}: 'random' is given twice"):
        alternatives([described()], *policies)


def test_loads_are_told_apart():
    one = described()
    other = scenario([pool(), pool("more")], [work()])
    assert same_load({"a": one, "b": other})
    assert not same_load({"a": one, "b": scenario([pool()], [work(rate=20.0)])})
    assert not same_load({"a": one, "b": described(horizon=3.0)})
