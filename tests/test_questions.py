"""The scenarios that ask one question each: their answers, as the documentation gives them.

Each is played shorter than shipped; what is held is who is better, not by how much.
"""

from __future__ import annotations

import pytest

from inferencesim import simulate
from inferencesim.scenario.loading import load_scenario

pytestmark = pytest.mark.long


def answer(name, *overrides):
    """Return the summary of a shipped scenario, with some of it overridden."""
    summary = simulate(load_scenario(name, overrides)).summary
    assert summary.conservation.holds
    return summary


def of(summary, name):
    """Return the statistics of one class."""
    return next(each for each in summary.classes if each.name == name)


SHORT = ("horizon=3min", "warm_up=30s")


class TestDisaggregation:
    def played(self, *overrides):
        busy = ("workload.retrieval.arrivals.rate=45/s", "pools.prefill.replicas=5", "pools.decode.replicas=3")
        return answer("disaggregation", *SHORT, *busy, *overrides).fleet

    def test_tokens_come_evenly_where_no_prompt_comes_between(self):
        apart, together = self.played(), self.played("pools.decode.prefill_in=null")
        assert apart.itl_s.p99 < together.itl_s.p99 / 3
        assert apart.slo_attainment > together.slo_attainment
        assert apart.time_parts.transfer_s > 0.0
        assert together.time_parts.transfer_s == 0.0

    def test_chips_on_the_wrong_side_cost_the_first_token(self):
        assert self.played("pools.prefill.replicas=3", "pools.decode.replicas=5").slo_attainment < 0.1

    def test_short_prompts_may_stay(self):
        assert self.played("pools.decode.prefill_in.above=100000").time_parts.transfer_s == 0.0


class TestCheapAnswers:
    def test_the_cheapest_tokens_make_the_dearest_tasks_where_people_answer_the_rest(self):
        names = ("small_only", "cascade", "threshold", "large_only")
        found = {
            name: simulate(load_scenario("cheap_answers", ("horizon=30min",), variant=name)).summary for name in names
        }
        tokens = {name: each.fleet.usd_per_million_output_tokens for name, each in found.items()}
        tasks = {name: each.fleet.cost_per_completed_task_usd for name, each in found.items()}
        assert min(tokens, key=tokens.get) == max(tasks, key=tasks.get) == "small_only"
        assert min(tasks, key=tasks.get) == "cascade"
        assert tasks["small_only"] > 3 * tasks["cascade"]
        assert found["large_only"].tasks[0].good > found["cascade"].tasks[0].good


class TestNightShift:
    def played(self, *overrides):
        summary = answer("night_shift", *overrides)
        paid = {row.class_name: row.energy_usd for row in summary.ledger}
        return of(summary, "chat"), of(summary, "summaries"), paid, summary.pools[0].energy_usd

    def test_the_people_of_the_afternoon_gain_and_the_bill_changes_hands(self):
        chat, summaries, paid, electricity_usd = self.played()
        chat_before, summaries_before, paid_before, electricity_usd_before = self.played("flow.defer=null")
        assert chat.slo_attainment > chat_before.slo_attainment + 0.05
        assert summaries.slo_attainment == summaries_before.slo_attainment == 1.0
        assert 0.98 * electricity_usd_before < electricity_usd < electricity_usd_before
        assert paid["summaries"] < paid_before["summaries"] / 5
        assert paid["chat"] > 1.1 * paid_before["chat"]

    def test_on_a_machine_of_their_own_it_falls(self):
        alone = "workload.chat.arrivals.rate=0.00001/s"
        assert self.played(alone)[-1] < 0.9 * self.played(alone, "flow.defer=null")[-1]


class TestCacheSize:
    def played(self, *overrides):
        return of(answer("cache_size", "horizon=15min", "warm_up=5min", *overrides), "agents")

    def test_what_fits_is_found_and_what_does_not_is_lost_at_once(self):
        whole = self.played()
        too_small = self.played("pools.only.kv_blocks=30000")
        assert whole.prefix_hit_rate > 0.9
        assert too_small.prefix_hit_rate < 0.3  # little more than what all sessions share
        assert whole.completed > 3 * too_small.completed

    def test_host_memory_takes_what_the_chips_cannot_hold(self):
        tier = "pools.only.kv_tiers=[{name: host, capacity: 200 GB, bandwidth: 100 GB/s, latency: 20us}]"
        found = self.played("pools.only.kv_blocks=30000", tier)
        assert found.prefix_hit_rate > 0.9
        assert found.time_parts.transfer_s > 0.0

    def test_who_drops_its_blocks_computes_them_again(self):
        assert self.played("workload.agents.kv_after=drop").prefix_hit_rate < 0.5


class TestVoiceBesideBatch:
    def played(self, **batching):
        rules = {"policy": "chunked_prefill", "order": "priority", "token_budget": 1024} | batching
        override = "pools.only.batching={" + ", ".join(f"{name}: {value}" for name, value in rules.items()) + "}"
        summary = answer("voice_beside_batch", *SHORT, override)
        return of(summary, "voice"), of(summary, "overnight")

    def test_small_steps_keep_the_promise_and_cost_a_little(self):
        (small, batch), (large, most) = self.played(), self.played(token_budget=8192)
        assert small.slo_attainment > 0.9 > large.slo_attainment
        assert small.itl_s.p99 < large.itl_s.p99 / 3
        assert 0.85 * most.output_tokens_per_s < batch.output_tokens_per_s < most.output_tokens_per_s

    def test_first_come_first_served_does_not_serve_voice(self):
        assert self.played(order="fcfs")[0].completed == 0

    def test_deadlines_order_two_classes_as_priorities_do(self):
        assert self.played(order="edf") == self.played()

    def test_a_static_batch_outlasts_the_caller(self):
        assert self.played(policy="static", token_budget=8192)[0].slo_attainment < 0.01


class TestSpeculation:
    def gained(self, clients, *overrides):
        load = (*SHORT, f"workload.chat.arrivals.clients={clients}")
        without = answer("speculation", *load, "pools.only.speculation=null").fleet
        return answer("speculation", *load, *overrides).fleet.output_tokens_per_s / without.output_tokens_per_s

    def test_it_speeds_up_a_few_and_slows_down_many(self):
        gains = [self.gained(clients) for clients in (1, 64, 256)]
        assert gains == sorted(gains, reverse=True)
        assert gains[0] > 1.4
        assert gains[-1] < 0.95

    def test_many_poor_guesses_slow_down_even_one(self):
        guesses = ("pools.only.speculation.drafts=8", "pools.only.speculation.acceptance=0.5")
        assert self.gained(1, *guesses) < 0.9

    def test_a_head_costs_less_than_a_model(self):
        assert self.gained(64, "pools.only.speculation.draft={layers: 1}") > self.gained(64)


class TestRentThePeak:
    def played(self, *overrides):
        # The whole hour: in a shorter one the peak is too large a part of what is paid for.
        return answer("rent_the_peak", *overrides)

    def test_fewer_chips_and_overflow_keep_the_promise_for_less_than_the_peak_owned(self):
        overflow = self.played()
        owned = self.played("pools.own.replicas=4", "routing.placement.parameters.providers=0")
        too_few = self.played("routing.placement.parameters.providers=0")
        assert of(overflow, "chat").slo_attainment > 0.9
        assert of(owned, "chat").slo_attainment > 0.9
        assert of(too_few, "chat").slo_attainment < of(overflow, "chat").slo_attainment
        assert overflow.fleet.cost_usd < 0.9 * owned.fleet.cost_usd
        assert 0.0 < overflow.fleet.provider_usd < 0.5 * overflow.fleet.cost_usd
        assert of(overflow, "internal").provider_usd == 0.0

    def test_a_pool_that_has_to_compete_at_the_margin_stands_empty(self):
        competing, overflow = self.played("routing.placement.parameters.providers=1"), self.played()
        assert competing.fleet.provider_usd > 2 * overflow.fleet.provider_usd
        assert competing.pools[0].output_tokens_per_s < 0.5 * overflow.pools[0].output_tokens_per_s


class TestThreeRegions:
    def played(self, variant):
        summary = simulate(load_scenario("three_regions", variant=variant)).summary
        assert summary.conservation.holds
        return summary

    def test_whoever_predicts_the_way_keeps_more_than_the_nearest_and_one_clean_site_emits_a_fraction(self):
        nearest, feasible, one_site = (self.played(each) for each in ("nearest", "feasible", "one_site"))
        assert feasible.fleet.slo_attainment > nearest.fleet.slo_attainment + 0.05
        assert one_site.fleet.carbon_g < 0.1 * nearest.fleet.carbon_g
        for each in (nearest, feasible, one_site):
            records = of(each, "health_records")
            assert records.completed > 0.99 * records.arrived

    def test_filling_the_cleanest_site_breaks_promises(self):
        assert self.played("lowest_carbon").fleet.slo_attainment < 0.3


class TestOnDevice:
    def played(self, variant):
        return simulate(load_scenario("on_device", variant=variant)).summary

    def test_devices_serve_most_of_it_at_no_cost_and_what_fails_there_goes_to_the_next_larger_model(self):
        tiers, phones_alone, cloud = (self.played(each) for each in ("devices_first", "phones_and_cloud", "cloud_only"))
        *devices, shared = tiers.pools
        phones, laptops, gateways = devices
        assert {device.cost_usd for device in devices} == {0.0}
        assert phones.completed > laptops.completed + gateways.completed > 0
        assert 0 < shared.completed < 0.6 * phones_alone.pools[-1].completed
        assert shared.output_tokens_per_s < 0.25 * cloud.pools[0].output_tokens_per_s
        assert tiers.tasks[0].escalations > phones_alone.tasks[0].escalations > 0.0
        assert tiers.tasks[0].calls > cloud.tasks[0].calls
