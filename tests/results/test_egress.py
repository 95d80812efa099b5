"""What answers cost on their way out: by class, by pool, in every sum; nothing where nobody says where users are."""

from __future__ import annotations

import pytest
from oracle.small import model, pool, run, scenario, work

from inferencesim.results.summarise import summarise

EGRESS = {"egress": {"price": "$100/MB", "bytes_per_token": 10}}
USD_PER_TOKEN = 1e-3
API = {"name": "api", "price": {"input": "$1/Mtok", "output": "$4/Mtok"}, "model": model(), "tokens_per_second": "50/s"}


def summary(economics=EGRESS, **said):
    away = work("away", origin="us-east-ohio", rate=30.0)
    done = run(scenario([pool("p"), pool("q")], [away, work("near", rate=30.0)], economics=economics, **said))
    return done, summarise(done.result)


def test_each_token_made_for_somebody_away_is_charged_to_its_class_and_pool():
    done, found = summary(drain=0.0)
    rows = done.requests
    made = rows[rows["class"] == "away"].groupby("pool", observed=True)["generated_tokens"].sum()
    assert made.min() > 100
    for each in found.pools:
        assert each.egress_usd == pytest.approx(made[each.name] * USD_PER_TOKEN)
        assert each.cost_usd == pytest.approx(each.owned_usd + each.energy_usd + each.egress_usd)
        own = [row for row in found.ledger if row.pool == each.name]
        assert sum(row.cost_usd for row in own) == pytest.approx(each.cost_usd)
        assert {row.class_name for row in own if row.egress_usd > 0.0} == {"away"}
    assert sum(row.cost_usd for row in found.ledger) == pytest.approx(found.fleet.cost_usd)
    assert sum(each.cost_usd for each in found.classes) == pytest.approx(found.fleet.cost_usd)


def test_it_is_in_the_price_of_a_request():
    with_price, without = (summary(economics)[0].requests for economics in (EGRESS, {}))
    extra = with_price["attributed_cost_usd"] - without["attributed_cost_usd"]
    expected = with_price["generated_tokens"] * USD_PER_TOKEN * (with_price["class"] == "away")
    assert extra.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-12)


def test_a_window_has_what_was_made_in_it():
    _, whole = summary()
    _, part = summary(warm_up=1.0)
    assert 0.0 < part.pools[0].egress_usd < whole.pools[0].egress_usd


def test_a_provider_has_it_in_its_price():
    routing = {"placement": {"policy": "random"}}
    away = work("away", origin="us-east-ohio", rate=30.0)
    done = run(scenario([pool()], [away], providers=[API], economics=EGRESS, routing=routing))
    outside = done.requests[done.requests["provider"].notna()]
    assert len(outside) > 5
    assert outside["attributed_cost_usd"].to_numpy() == pytest.approx(outside["provider_cost_usd"].to_numpy())
