"""What a scenario may say about flow control, and what it is told where it may not."""

from __future__ import annotations

import pytest
from oracle.small import pool, scenario, work
from pydantic import ValidationError


def described(flow, **said):
    return scenario([pool()], [work("chat", **said)], flow=flow)


def test_quantities_have_units_and_what_is_left_out_does_nothing():
    flow = described({"quotas": {"chat": {"tokens_per_minute": "1 Mtok", "burst": "10s"}}}).flow
    assert flow.quotas["chat"].tokens_per_minute == 1e6
    assert flow.quotas["chat"].beyond == "shed"
    assert flow.is_active
    assert not scenario([pool()], [work()]).flow.is_active


@pytest.mark.parametrize(
    ("flow", "said", "why"),
    [
        ({"quotas": {"chatt": {"in_flight": 1}}}, {}, r"no class is of the tenant 'chatt'\. Did you mean 'chat'"),
        ({"quotas": {"chat": {"in_flight": 1}}}, {"tags": {"tenant": "acme"}}, "no class is of the tenant 'chat'"),
        ({"quotas": {"chat": {"burst": "1s"}}}, {}, "it limits nothing"),
        ({"shed": [{"above": 1.0, "bands": [3]}]}, {}, r"no class has priority 3; there are 0"),
        ({"shed": [{"above": 1.0, "below": 1.1, "bands": [0]}]}, {}, "must not exceed above"),
        ({"defer": {"batch": 4}}, {}, "no class is tagged batchable"),
        ({"defer": {"batch": 4}}, {"tags": {"batchable": True}}, "may be held for ever; promise a deadline"),
        ({"defer": {"windows": [{"from": "25h", "to": "1h"}]}}, {}, "less than 86400"),
        ({"defer": {"windows": [{"from": "1h", "to": "1h"}]}}, {}, "from and to are the same"),
    ],
)
def test_what_makes_no_sense_is_refused(flow, said, why):
    with pytest.raises(ValidationError, match=why):
        described(flow, **said)


@pytest.mark.parametrize("defer", [{"load_below": 0.5}, {"windows": [{"from": "22h", "to": "6h"}]}])
def test_without_a_deadline_a_window_or_low_load_ends_the_wait(defer):
    assert described({"defer": defer}, tags={"batchable": True}).flow.defer is not None
