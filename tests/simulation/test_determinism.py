"""The same scenario and seed give the same bytes, and policies meet the same load."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
import pytest
from oracle.small import closed, pool, run, scenario, work

MIXED = {"distribution": "lognormal", "median": 30, "sigma": 0.8, "max": 300}


def mixed_fleet(seed=1, balancing="least_outstanding", placement="least_normalised_load", chat=100.0, snapshot_age=0.0):
    cancelled = {"share": 0.3, "after": {"distribution": "uniform", "low": 0.0, "high": 1.0}}
    return scenario(
        [
            pool("a", replicas=3, kv_blocks=40, batching={"max_sequences": 16, "token_budget": 64}),
            pool("b", "fast-chip", replicas=2),
        ],
        [
            work("chat", chat, MIXED, MIXED, timeout=0.5, sessions={"active": 20}),
            work("batch", 50.0, MIXED, MIXED, cancellation=cancelled),
            work("agent", prompt=MIXED, output=MIXED) | {"arrivals": closed(6, 0.02)},
        ],
        seed=seed,
        routing={"balancing": balancing, "placement": placement, "snapshot_age": snapshot_age},
    )


def parquet(table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("balancing", "snapshot_age"), [("least_outstanding", 0.0), ("power_of_two", 0.1), ("random", 0.0)]
)
def test_same_scenario_and_seed_same_bytes(balancing, snapshot_age):
    described = mixed_fleet(balancing=balancing, snapshot_age=snapshot_age)
    first, second = run(described).tables, run(described).tables
    assert set(first) == {"requests", "decisions", "series"}
    for name, table in first.items():
        assert parquet(table) == parquet(second[name]), name


def test_another_seed_gives_another_run():
    assert parquet(run(mixed_fleet(1)).tables["requests"]) != parquet(run(mixed_fleet(2)).tables["requests"])


def load_of(done, name):
    """What the clients of a class asked for, keyed by task; closed loops decide by themselves when."""
    rows = done.requests[done.requests["class"] == name].set_index("task").sort_index()
    return rows[["arrived_s", "prompt_tokens", "output_tokens", "session"]]


POLICIES = ("round_robin", "random", "power_of_two", "least_kv", "session_affinity")


@pytest.fixture(scope="module")
def plain_run():
    return run(mixed_fleet())


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_meet_the_same_load(policy, plain_run):
    """Common random numbers: arrivals, lengths and sessions hang on class and task, not on who serves them."""
    other = run(mixed_fleet(balancing=policy, placement=policy))
    for name in ("chat", "batch"):
        assert load_of(plain_run, name).equals(load_of(other, name))
    ours, theirs = (load_of(done, "agent")[["prompt_tokens", "output_tokens"]] for done in (plain_run, other))
    both = ours.index.intersection(theirs.index)
    assert len(both) > 50
    assert ours.loc[both].equals(theirs.loc[both])
    # The policies do differ.
    assert not plain_run.requests["replica"].equals(other.requests["replica"])


def test_a_class_keeps_its_load_when_another_one_changes(plain_run):
    other = run(mixed_fleet(chat=20.0))
    assert load_of(plain_run, "batch").equals(load_of(other, "batch"))
    ours, theirs = (load_of(done, "agent")[["prompt_tokens", "output_tokens"]] for done in (plain_run, other))
    both = ours.index.intersection(theirs.index)
    assert len(both) > 50
    assert ours.loc[both].equals(theirs.loc[both])


def test_what_is_recorded_changes_nothing(plain_run):
    described = mixed_fleet()
    tree = described.model_dump(by_alias=True)
    tree["recording"] = {"evidence": "full", "predictions": True, "series_interval": 0.5}
    quiet = run(type(described).model_validate(tree))
    columns = ["outcome", "replica", "generated_tokens", "preemptions"]
    assert quiet.requests[columns].equals(plain_run.requests[columns])
