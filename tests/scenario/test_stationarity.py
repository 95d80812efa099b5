"""Whether a load is the same at all times, and if not, what changes it."""

from __future__ import annotations

import pytest
from oracle.small import closed, pool, scenario, work

from inferencesim.scenario.stationarity import why_not_stationary

BURST = {"process": "poisson", "rate": 1.0, "profile": {"shape": "burst", "factor": 4, "start": 0, "length": 1}}


def why(*workload, **said):
    return why_not_stationary(scenario([pool()], list(workload) or [work()], **said))


def test_poisson_arrivals_and_clients_that_go_on_are():
    assert why(work("a"), work("b") | {"arrivals": closed(3)}) is None


@pytest.mark.parametrize(
    ("each", "says"),
    [
        ({"arrivals": BURST}, "the rate of c follows a profile"),
        ({"arrivals": closed(3, requests=9)}, "the clients of c stop after 9 requests"),
        ({"active": {"from": 1.0}}, "c is active for a part of the time only"),
    ],
)
def test_a_load_that_changes_is_not(each, says):
    assert why(work() | each) == says


def test_what_breaks_at_a_set_time_is_not_but_what_breaks_at_random_is():
    assert why(failures=[{"pool": "p", "at": 0.5, "for": 0.1}]) == "part of the fleet is down or slow at a set time"
    assert why(failures=[{"replica": "p", "mtbf": 0.5, "mttr": 0.1}]) is None
