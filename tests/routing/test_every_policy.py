"""What holds for every registered policy, at both levels."""

from __future__ import annotations

import numpy as np
import pytest
from facing import INFINITY, MIXED, candidates, replica_of, request, scored
from hypothesis import given, settings
from hypothesis import strategies as st

from inferencesim.errors import InputError
from inferencesim.kernel.views import Candidates, Request
from inferencesim.routing.policy import POLICIES, bind

LOADS = st.fixed_dictionaries(
    {
        "waiting": st.integers(0, 300),
        "running": st.integers(0, 600),
        "waiting_tokens": st.integers(0, 500_000),
        "context_tokens": st.integers(0, 2_000_000),
        "kv_usage": st.floats(0.0, 1.0),
    }
)
CACHED = st.fixed_dictionaries({"found_tokens": st.integers(0, 100_000), "kept_tokens": st.integers(0, 2_000_000)})
PROMISES = st.one_of(st.just(INFINITY), st.floats(0.001, 60.0))
REQUESTS = st.builds(
    request,
    prompt=st.integers(1, 100_000),
    output=st.floats(1.0, 5000.0),
    session=st.integers(-1, 50),
    ttft=PROMISES,
    tpot=PROMISES,
    e2e=PROMISES,
    sensitivity=st.integers(0, 2),
    key=st.integers(0, 2**31 - 1),
)


@st.composite
def fleets(draw: st.DrawFn) -> Candidates:
    """One to twenty candidates, pools and outside providers, at least one of them eligible."""
    loads = draw(st.lists(LOADS, min_size=1, max_size=20))
    n = len(loads)
    eligible = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    eligible[draw(st.integers(0, n - 1))] = 1
    hardware = draw(st.lists(st.sampled_from(MIXED), min_size=n, max_size=n))
    replicas = draw(st.lists(st.integers(1, 50), min_size=n, max_size=n))
    cached = draw(st.lists(CACHED, min_size=n, max_size=n))
    deployments = [replica_of(name) for name in hardware]
    interactive = draw(st.lists(PROMISES, min_size=2 * n, max_size=2 * n))
    outside = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    return candidates(
        loads,
        deployments,
        eligible=eligible,
        cached=cached,
        replicas=[1 if at else number for at, number in zip(outside, replicas, strict=True)],
        outside=outside,
        ttft_s=draw(st.lists(st.floats(0.0, 1000.0), min_size=n, max_size=n)),
        tpot_s=draw(st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n)),
        usd_per_prompt_token=draw(st.lists(st.floats(0.0, 1e-4), min_size=n, max_size=n)),
        usd_per_output_token=draw(st.lists(st.floats(0.0, 1e-4), min_size=n, max_size=n)),
        interactive_ttft_s=interactive[:n],
        interactive_tpot_s=interactive[n:],
    )


@pytest.fixture(params=POLICIES.names(), scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_field_s_policies_are_there():
    assert set(POLICIES.names()) >= {
        "random",
        "round_robin",
        "least_outstanding",
        "join_shortest_queue",
        "power_of_two",
        "least_tokens",
        "least_kv",
        "least_normalised_load",
        "session_affinity",
        "prefix_affinity",
        "kv_aware_cost",
        "weighted_scorers",
        "predicted_latency",
        "cheapest_feasible",
        "premium_first",
        "tag_aware",
    }


def test_it_says_what_it_does(name):
    policy = POLICIES.get(name, "here")
    assert policy.rule
    assert policy.choose.__doc__
    assert not policy.oracle


def test_no_request_tells_its_output_length(name):
    """Only an oracle may know it; what a policy is given has no such field."""
    assert [field for field in Request._fields if "output" in field] == ["expected_output_tokens"]
    assert not [field for field in Candidates._fields if "output" in field]


@settings(max_examples=25, deadline=None)
@given(asked=REQUESTS, facing=fleets(), places=st.lists(st.integers(0, 40), min_size=8, max_size=8))
def test_it_chooses_the_same_eligible_candidate_compiled_and_as_plain_python(name, asked, facing, places):
    outcomes = []
    for plain in (True, False, True):
        memory = np.array(places, np.int64)
        tables = [*facing[:-1], *facing.latency]
        before = [table.copy() for table in tables]
        choice, scores = scored(name, asked, facing, memory=memory, plain=plain)
        assert 0 <= choice < facing.eligible.size
        assert facing.eligible[choice] == 1
        for table, untouched in zip(tables, before, strict=True):
            np.testing.assert_array_equal(table, untouched)
        outcomes.append((choice, scores, memory))
    for choice, scores, memory in outcomes[1:]:
        assert choice == outcomes[0][0]
        np.testing.assert_allclose(scores, outcomes[0][1], rtol=1e-12)
        np.testing.assert_array_equal(memory, outcomes[0][2])


@settings(max_examples=25, deadline=None)
@given(asked=REQUESTS, facing=fleets(), other=LOADS, held=CACHED)
def test_what_happens_at_ineligible_candidates_does_not_matter(name, asked, facing, other, held):
    before, _ = scored(name, asked, facing, plain=False)
    load, cached = facing.load.copy(), facing.cached.copy()
    for i in np.flatnonzero(facing.eligible == 0):
        for table, values in ((load, other), (cached, held)):
            for field, value in values.items():
                table[i][field] = value
    after, _ = scored(name, asked, facing._replace(load=load, cached=cached), plain=False)
    assert after == before


@settings(max_examples=30, deadline=None)
@given(asked=REQUESTS, facing=fleets())
def test_the_scores_explain_the_choice(name, asked, facing):
    """Where candidates were scored, the chosen one has the highest score of the eligible."""
    choice, scores = scored(name, asked, facing, plain=False)
    looked_at = (facing.eligible == 1) & ~np.isnan(scores)
    if looked_at.any():
        assert scores[choice] == scores[looked_at].max()
        # Ties go to the lowest identity.
        assert choice == np.flatnonzero(looked_at & (scores == scores[choice]))[0]


def test_one_candidate_leaves_no_choice(name):
    assert scored(name, request(), candidates([{"waiting": 1000, "kv_usage": 1.0}]))[0] == 0


def test_a_misspelt_parameter_is_named_with_the_nearest(name):
    parameters = POLICIES.get(name, "here").parameters
    with pytest.raises(InputError) as caught:
        bind(name, {"loadd": 1.0}, "routing.placement")
    assert caught.value.where == "routing.placement.parameters.loadd"
    assert "no" in caught.value.what
    assert caught.value.remedy == "It takes none." if not parameters else caught.value.remedy


def test_a_misspelt_policy_is_named_with_the_nearest():
    with pytest.raises(InputError) as caught:
        bind("least_outstandin", {}, "routing.balancing")
    assert caught.value.where == "routing.balancing.policy"
    assert "Did you mean 'least_outstanding'?" in str(caught.value)
    with pytest.raises(InputError, match="Did you mean 'margin'"):
        bind("cheapest_feasible", {"margn": 0.5}, "routing.placement")


def test_parameters_arrive_in_the_order_of_their_declaration():
    bound = bind("weighted_scorers", {"price": 5.0, "queue": 1.0}, "routing.placement")
    assert list(POLICIES.get("weighted_scorers", "here").parameters) == [
        "queue",
        "kv",
        "load",
        "speed",
        "price",
        "session",
        "prefix",
        "energy",
        "network",
    ]
    assert bound.parameters.tolist() == [1.0, 2.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0]
    assert not bound.interpreted
