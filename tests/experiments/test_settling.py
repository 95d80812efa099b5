"""When a fleet that begins empty has settled."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work

from inferencesim.experiments.settling import MOMENTS, settled_s
from inferencesim.experiments.trials import plan_of, run_of, unrecorded


def settled(output, rate=10.0, horizon=30.0):
    described = scenario([pool(replicas=6)], [work(rate=rate, output=output)], horizon=horizon)
    return settled_s(run_of(plan_of(unrecorded(described))))


def test_it_takes_about_as_long_as_the_first_requests_stay():
    """Answers of 400 tokens take 0.8 s here; those of 20 take 0.03 s."""
    assert 0.3 < settled(400) < 3.0
    assert settled(20) < 0.3


def test_it_is_one_of_the_moments_that_are_looked_at():
    assert settled(400) * MOMENTS / 30.0 == pytest.approx(round(settled(400) * MOMENTS / 30.0))


def test_a_queue_that_grows_without_bound_never_settles():
    assert settled(20, rate=4000.0, horizon=3.0) is None
