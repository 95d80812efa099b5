"""Electricity that costs more at some hours: who pays which price, who sees it, and what waiting for it is worth."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import pool, run, scenario, work

from inferencesim.economics.tariffs import lowest_of
from inferencesim.results.summarise import summarise

#: US dollars per joule: of $0.36/kWh and $0.036/kWh.
DEAR, CHEAP = 1e-7, 1e-8
DAY = "$0.36/kWh"
#: Cheap from the tenth to the thirtieth second of each day.
LOW = {"from": "10s", "to": "30s", "electricity": "$0.036/kWh"}
LATER = {"tags": {"batchable": True}}


def paying(name="p", **said):
    """Return a pool that pays its electricity apart."""
    return pool(name, price="$3.6/h", price_includes_power=False, **said)


def at_once(requests=40, **said):
    return work(**said) | {"arrivals": {"process": "burst", "requests": requests}}


def played(workload, tariff=(LOW,), pools=None, horizon=40.0, **said):
    economics = {"electricity": DAY, "tariff": list(tariff), "pue": 1.5}
    return run(scenario(pools or [paying()], workload, horizon=horizon, **{"economics": economics} | said))


def energy_usd(done):
    return summarise(done.result).pools[0].energy_usd


class TestMoney:
    def test_work_held_for_a_low_price_costs_its_joules_times_the_difference_less(self):
        """Forty requests that come at once, in the dear seconds, and are gone before they or the cheap ones end."""
        at_once_, held = (
            played([at_once(**LATER)], flow={} if below is None else {"defer": {"price_below": below}})
            for below in (None, "$0.1/kWh")
        )
        assert at_once_.requests["finished_s"].max() < 10.0
        assert (held.requests["held_s"] == 10.0).all()
        assert (held.requests["held_until"] == "window").all()
        assert held.requests["finished_s"].max() < 30.0
        joules, busy_s = at_once_.result.end.step_energy_j[0], at_once_.result.end.busy_s[0]
        assert held.result.end.step_energy_j[0] == pytest.approx(joules, rel=1e-9)

        rows = [summarise(each.result).ledger for each in (at_once_, held)]
        of_class = [next(row for row in ledger if row.class_name == "c") for ledger in rows]
        assert of_class[0].energy_j == pytest.approx(joules, rel=1e-9)
        assert of_class[0].energy_usd == pytest.approx(1.5 * joules * DEAR, rel=1e-9)
        assert of_class[1].energy_usd == pytest.approx(1.5 * joules * CHEAP, rel=1e-9)
        # The machine draws its power at rest when it does nothing else, at the other price.
        rest_w = at_once_.plan.pools[0].deployment.idle_w
        saved = 1.5 * (joules - rest_w * busy_s) * (DEAR - CHEAP)
        assert energy_usd(at_once_) - energy_usd(held) == pytest.approx(saved, rel=1e-9)
        assert summarise(held.result).pools[0].owned_usd == summarise(at_once_.result).pools[0].owned_usd

    def test_the_window_is_cut_at_each_change_within_it_and_nowhere_else(self):
        done = played([work(rate=4.0)], warm_up=10.0, horizon=30.0)
        assert done.result.repriced == ()
        assert energy_usd(done) == pytest.approx(1.5 * summarise(done.result).pools[0].energy_j * CHEAP)
        across = played([work(rate=4.0)], warm_up=5.0, horizon=35.0)
        assert [mark.at_s for mark, _ in across.result.repriced] == [10.0, 30.0]

    def test_an_idle_fleet_pays_each_hour_its_price(self):
        """Of 40 s, 20 are cheap; the only request comes after that."""
        done = played([at_once(1, active={"from": 39.9})], warm_up=5.0, horizon=39.0)
        rest_w = done.plan.pools[0].deployment.idle_w
        assert energy_usd(done) == pytest.approx(1.5 * rest_w * (14.0 * DEAR + 20.0 * CHEAP), rel=1e-12)

    def test_a_request_on_both_sides_of_a_change_is_paid_for_on_both(self):
        done = played([at_once(1, output=1500)], [{**LOW, "from": "2s"}])
        (request,) = done.requests.itertuples()
        ((mark, charged), (later, _)) = done.result.repriced
        assert (mark.at_s, later.at_s) == (2.0, 30.0)
        assert 3.0 < request.finished_s < 30.0
        before, total = mark.step_energy_j[0], done.result.end.step_energy_j[0]
        assert charged.energy_j.sum() == pytest.approx(before, rel=0.01)
        (row,) = (row for row in summarise(done.result).ledger if row.class_name == "c")
        assert row.energy_usd == pytest.approx(1.5 * (before * DEAR + (total - before) * CHEAP), rel=1e-9)
        # What it is said to have cost by itself is at the price of the hour at which it ended.
        assert request.attributed_cost_usd == pytest.approx(1e-3 * request.busy_s + 1.5 * request.energy_j * CHEAP)

    def test_hours_at_the_same_price_change_nothing(self):
        plain, same = (played([work(rate=4.0)], tariff) for tariff in ((), ({**LOW, "electricity": DAY},)))
        for name in plain.tables:
            assert plain.tables[name].equals(same.tables[name])
        assert summarise(plain.result).ledger == summarise(same.result).ledger

    def test_cutting_the_window_for_another_site_changes_no_bill(self):
        pools = [paying("here", site="eu-frankfurt"), paying("there", site="us-east-virginia")]
        load = [work("a", rate=10.0), work("b", rate=5.0, prompt=100)]
        plain, cut = (played(load, tariff, pools) for tariff in ((), ({**LOW, "sites": ["us-east-virginia"]},)))
        assert len(cut.result.repriced) == 2
        before, after = summarise(plain.result), summarise(cut.result)
        here, there = zip(before.pools, after.pools, strict=True)
        assert here[1].energy_usd == pytest.approx(here[0].energy_usd, rel=1e-12)
        assert here[1].cost_usd == pytest.approx(here[0].cost_usd, rel=1e-12)
        assert there[1].energy_usd < 0.6 * there[0].energy_usd
        for one, other in zip(before.ledger, after.ledger, strict=True):
            if one.pool == "here":
                # A step under way at a change is its class's on one side of it only.
                assert other.energy_usd == pytest.approx(one.energy_usd, rel=1e-2)

    def test_rows_sum_to_the_totals_with_tasks_and_tools(self):
        done = played(**agents(), tariff=[LOW, {"from": "2s", "to": "5s", "electricity": "$1/kWh"}])
        assert len(done.result.repriced) == 4
        summary = summarise(done.result)
        assert summary.conservation.holds
        for each in (*summary.pools, *summary.tools):
            rows = [row for row in summary.ledger if row.pool == each.name]
            assert sum(row.energy_usd for row in rows) == pytest.approx(each.energy_usd, rel=1e-9)
            assert sum(row.cost_usd for row in rows) == pytest.approx(each.cost_usd, rel=1e-9)
            assert sum(row.energy_j for row in rows) == pytest.approx(each.energy_j, rel=1e-9)
        paid = sum(each.cost_usd for each in (*summary.pools, *summary.tools))
        assert summary.fleet.cost_usd == pytest.approx(paid, rel=1e-9)

    def test_tools_pay_the_price_of_their_time(self):
        done = played(**agents())
        (tools,), (account,) = done.plan.tools, summarise(done.result).tools
        core_s = np.diff([mark.core_s[0] for mark in (done.result.window[0], *cuts(done), done.result.window[1])])
        joules = tools.core_w * core_s + tools.idle_w * np.array([10.0, 20.0, 10.0])
        assert (core_s > 0.0).all()
        assert account.energy_usd == pytest.approx(1.5 * (joules * [DEAR, CHEAP, DEAR]).sum(), rel=1e-9)


def cuts(done):
    return [mark for mark, _ in done.result.repriced]


def agents():
    """Tasks that call a model and hold a core of a pool of tools that pays its electricity apart."""
    task = {
        "name": "agent",
        "arrivals": {"process": "poisson", "rate": 1.0},
        "steps": [{"call": "step"}, {"tool": "sandbox", "time": "0.5s"}, {"call": "step"}],
    }
    return {
        "workload": [work("chat", 4.0), work("step") | {"arrivals": {"process": "tasks"}}],
        "tasks": [task],
        "tools": [{"name": "sandbox", "hardware": "intel-xeon-6980p", "nodes": 1, "cores": 8}],
    }


class TestForecasts:
    def test_what_is_left_at_the_end_is_done_at_the_mean_price_of_the_day(self):
        noon = {"from": "0h", "to": "12h", "electricity": "$0.72/kWh"}
        left = [
            summarise(played([work(rate=500.0)], drain=0.0, horizon=5.0, **said).result).fleet.to_finish
            for said in ({"tariff": [noon]}, {"economics": {"electricity": "$0.54/kWh", "pue": 1.5}})
        ]
        assert left[0].requests > 10
        assert left[0] == left[1]

    def test_at_break_even_rest_is_paid_for_at_the_mean_price_of_the_window(self):
        api = {"name": "api", "price": {"input": "$9/Mtok", "output": "$9/Mtok"}, "model": pool()["model"],
               "tokens_per_second": "100/s"}  # fmt: skip
        done = played([work(rate=4.0, providers="refused"), work("out", rate=1.0)], providers=[api])
        summary = summarise(done.result)
        (each,), (own,) = summary.break_even, summary.pools
        rest_usd = 1.5 * 20.0 * done.plan.pools[0].deployment.idle_w * (DEAR + CHEAP)
        tokens_usd = each.provider_usd_per_million_tokens / each.pool_usd_per_million_tokens * own.cost_usd
        fixed_usd = own.owned_usd + rest_usd
        expected = each.utilisation * fixed_usd / (tokens_usd - (own.cost_usd - fixed_usd))
        assert each.break_even_utilisation == pytest.approx(expected, rel=1e-9)


class TestRouting:
    def routed(self, workload, **said):
        sites = "eu-frankfurt", "us-east-virginia"
        pools = [paying(name, site=site, replicas=2) for name, site in zip("ab", sites, strict=True)]
        tariff = [
            {"from": "0s", "to": "24h", "electricity": "$0.2/kWh", "sites": [sites[0]]},
            {**LOW, "sites": [sites[1]]},
        ]
        return played(workload, tariff, pools, **said)

    @pytest.mark.parametrize("placement", ["region_cheapest_power", "cheapest_first"])
    def test_the_cheapest_site_is_that_of_the_moment(self, placement):
        done = self.routed([work(rate=5.0)], routing={"placement": placement})
        requests = done.requests
        cheap = requests["arrived_s"].between(10.0, 30.0, inclusive="left")
        assert (requests["pool"] == np.where(cheap, "b", "a")).all()
        replicas, of_pools = done.simulation.gateway.replica_traits, done.simulation.gateway.pool_traits
        for name in ("usd_per_j", "usd_per_s"):
            np.testing.assert_array_equal(replicas[name], np.repeat(of_pools[name], 2))

    def test_who_waited_for_a_price_is_placed_by_it(self):
        done = self.routed(
            [at_once(20, **LATER)],
            routing={"placement": "region_cheapest_power"},
            flow={"defer": {"price_below": "$0.1/kWh"}},
        )
        assert (done.requests["pool"] == "b").all()
        np.testing.assert_array_equal(done.decisions["time_s"], 10.0)
        prices = lowest_of([each.tariff for each in done.plan.pools])
        assert prices.hours_below(0.1 / 3.6e6) == ((10.0, 30.0),)

    def test_a_price_reached_in_the_drain_lets_them_go_too(self):
        done = self.routed([at_once(5, **LATER)], horizon=5.0, flow={"defer": {"price_below": "$0.1/kWh"}}, drain=20.0)
        assert (done.requests["held_s"] == 10.0).all()
        assert (done.requests["outcome"] == "completed").all()
        assert done.result.repriced == ()
