"""What a pool says of its caches, its links and its draft: units, bounds, and names that must differ."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from inferencesim.scenario.fleet import Pool


def pool(**fields: Any) -> Pool:
    return Pool.model_validate({"name": "p", "hardware": "nvidia-h100-sxm", "model": "llama-3.1-8b", **fields})


def refused(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        pool(**fields)
    return str(caught.value)


def test_a_pool_that_says_nothing_has_no_caches_no_links_and_no_draft():
    plain = pool()
    assert (plain.prefix_cache, plain.kv_tiers) == (False, ())
    assert (plain.kv_link, plain.prefill_in, plain.speculation) == (None, None, None)


def test_tiers_and_links_are_read_in_si_units():
    made = pool(
        prefix_cache=True,
        kv_tiers=[
            {"name": "host", "capacity": "200 GB", "bandwidth": "50 GB/s", "latency": "10us"},
            {"name": "ssd", "capacity": "4 TB", "bandwidth": "6 GB/s"},
        ],
        kv_link={"bandwidth": "25 GB/s", "latency": "5us"},
        prefill_in={"pool": "prefill", "above": 512},
    )
    assert made.prefix_cache
    assert [(tier.name, tier.capacity, tier.bandwidth) for tier in made.kv_tiers] == [
        ("host", 200e9, 50e9),
        ("ssd", 4e12, 6e9),
    ]
    assert [tier.latency for tier in made.kv_tiers] == pytest.approx([1e-5, 0.0])
    assert made.kv_link is not None
    assert (made.kv_link.bandwidth, made.kv_link.latency) == (25e9, pytest.approx(5e-6))
    assert made.prefill_in is not None
    assert (made.prefill_in.pool, made.prefill_in.above) == ("prefill", 512)


def test_tiers_have_names_of_their_own():
    tier = {"name": "host", "capacity": "1 GB", "bandwidth": "1 GB/s"}
    assert "two tiers called 'host'" in refused(kv_tiers=[tier, tier])


def test_a_pool_does_not_prefill_for_itself():
    assert "prefill_in.pool is this pool, 'p'" in refused(prefill_in={"pool": "p"})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"drafts": 0}, "greater than or equal to 1"),
        ({"drafts": 17}, "less than or equal to 16"),
        ({"acceptance": 1.2}, "less than or equal to 1"),
        ({"draft": {}}, "either {model: NAME}, a draft model, or {layers: N}"),
        ({"draft": {"model": "llama-3.2-1b", "layers": 1}}, "either {model: NAME}"),
        ({"draft": {"layers": -1}}, "greater than or equal to 0"),
    ],
)
def test_speculation_within_reason(said, complaint):
    whole = {"drafts": 4, "acceptance": "80%", "draft": {"layers": 1}}
    assert pool(speculation=whole).speculation is not None
    assert complaint in refused(speculation=whole | said)
