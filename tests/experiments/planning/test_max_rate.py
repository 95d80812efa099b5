"""The highest load a fleet carries: what queueing theory says, and between what the simulator carries and does not."""

from __future__ import annotations

import functools

import pytest
from oracle.small import closed, pool, scenario, work

from inferencesim import max_rate
from inferencesim.errors import InputError
from inferencesim.experiments.planning.load import with_load
from inferencesim.experiments.planning.playing import trial
from inferencesim.experiments.trials import seed_of, unrecorded


def one_replica(rate=50.0):
    return scenario([pool("a")], [work("c", rate=rate, promise={"ttft": 0.2})], horizon=2.0)


@functools.cache
def found():
    return max_rate(one_replica(), slo="90%", replications=3)


def kept(described, factor, replication):
    loaded = with_load(described, factor)
    return trial(unrecorded(loaded) | {"seed": seed_of(loaded.seed, replication)}).attained["c"]


def test_a_little_less_is_carried_and_a_little_more_is_not():
    for replication, factor in enumerate(found().factors):
        assert kept(one_replica(), factor / 1.011, replication) >= 0.9
        assert kept(one_replica(), factor * 1.011, replication) < 0.9
    assert found().lower <= found().factor <= found().upper
    assert found().binding == ("c", "c", "c")


def test_the_frame_has_a_row_per_replication():
    frame = found().frame
    assert frame["factor"].tolist() == list(found().factors)
    assert frame["binding"].tolist() == list(found().binding)
    assert frame["replication"].tolist() == [0, 1, 2]


@pytest.mark.long
def test_the_answer_does_not_depend_on_where_one_begins():
    """The same requests arrive twice as fast: half the factor is left."""
    again = max_rate(one_replica(100.0), slo=0.9, replications=3)
    for old, new in zip(found().factors, again.factors, strict=True):
        assert new == pytest.approx(old / 2.0, rel=0.03)


def test_steps_of_one_length_carry_what_theory_says():
    """Every step takes 10 ms and has one seat: D/M/1-like, one request of ten steps each 0.1 s at most."""
    slow = pool("a", hardware="constant-chip", batching={"max_sequences": 1, "token_budget": 64})
    described = scenario([slow], [work("c", rate=1.0, prompt=10, output=10, promise={"e2e": 5.0})], horizon=100.0)
    assert max_rate(described, slo=0.9, replications=2).factor == pytest.approx(10.0, rel=0.12)


@pytest.mark.long
def test_one_class_alone_is_multiplied():
    both = scenario(
        [pool("a")],
        [work("c", rate=50.0, promise={"ttft": 0.2}), work("d", rate=50.0, promise={"ttft": 0.2})],
        horizon=2.0,
    )
    all_of_it, one = (max_rate(both, slo=0.9, replications=2, classes=which) for which in ((), ("c",)))
    assert one.factor == pytest.approx(2.0 * all_of_it.factor - 1.0, rel=0.1)


def test_every_kind_of_arrivals_is_multiplied():
    described = scenario(
        [pool()],
        [
            work("p", rate=2.0),
            work("b") | {"arrivals": {"process": "burst", "requests": 5}},
            work("l") | {"arrivals": closed(3)},
            work("r", rate=2.0) | {"arrivals": {"process": "gamma", "rate": 2.0, "cv": 2.0}},
        ],
    )
    p, b, loop, r = (each.arrivals for each in with_load(described, 3.0).workload)
    assert (p.rate, b.requests, loop.clients, r.rate) == (6.0, 15, 9, 6.0)
    assert with_load(described, 3.0, ["p"]).workload[1:] == described.workload[1:]


def test_a_promise_nobody_can_keep():
    hopeless = scenario([pool()], [work("c", promise={"ttft": 1e-6})])
    result = max_rate(hopeless, slo=0.9, replications=2)
    assert result.factor == 0.0
    assert result.binding == ("c", "c")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"slo": 2.0}, "--slo"),
        ({"slo": 0.9, "classes": ["x"]}, "--class"),
        ({"slo": 0.9, "replications": 1}, "--replic"),
    ],
)
def test_what_makes_no_sense_is_refused(said, message):
    with pytest.raises(InputError) as problem:
        max_rate(one_replica(), **said)
    assert message in str(problem.value)


def test_without_load_there_is_nothing_to_multiply():
    silent = work("c") | {"active": {"from": 1.0, "to": 1.0 + 1e-9}}
    with pytest.raises(InputError, match="no request arrives"):
        max_rate(scenario([pool()], [silent]), slo=0.9)
