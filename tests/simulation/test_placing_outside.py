"""What routing is told of providers, and what a scenario may say of them."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import model, pool, run, scenario, work

from inferencesim.errors import InputError
from inferencesim.kernel.tables import VERDICTS
from inferencesim.results.summarise import summarise
from inferencesim.simulation.plan import make_plan
from inferencesim.simulation.providers import NOTIONAL_IN_FLIGHT

PRICE = {"input": "$1/Mtok", "output": "$4/Mtok"}


def provider(**said):
    return {"name": "api", "price": PRICE, "model": model(), "ttft": "1s", "tokens_per_second": "10/s"} | said


def traits_of(**said):
    """Return the traits of a provider whose requests have 40 + 11 tokens and take 2 s."""
    played = run(scenario([pool()], [work(prompt=40, output=11)], providers=[provider(**said)], horizon=0.5))
    return played.simulation.gateway.pool_traits[1]


class TestTraits:
    def test_limits_make_its_rate_and_its_room(self):
        found = traits_of(limits={"requests_per_minute": 300})
        assert found["outside"] == 1
        assert found["target_rate"] == pytest.approx(5.0)
        assert found["seats"] == 10
        assert traits_of(limits={"tokens_per_minute": 51 * 60})["target_rate"] == pytest.approx(1.0)
        both = traits_of(limits={"requests_per_minute": 300, "tokens_per_minute": 51 * 60})
        assert both["target_rate"] == pytest.approx(1.0)

    def test_without_limits_there_is_notional_room(self):
        found = traits_of()
        assert found["seats"] == NOTIONAL_IN_FLIGHT
        assert found["target_rate"] == pytest.approx(NOTIONAL_IN_FLIGHT / 2.0)

    def test_speed_and_price(self):
        found = traits_of()
        assert found["speed"] == pytest.approx(10.0)
        assert found["usd_per_s"] / found["target_rate"] == pytest.approx(40e-6 + 11 * 4e-6)
        batch = traits_of(tier="batch", tokens_per_second=None, ttft="100s")
        assert batch["speed"] == pytest.approx(11 / 100)
        assert batch["usd_per_output_token"] == pytest.approx(2e-6)

    def test_identities_are_all_different(self):
        played = run(scenario([pool(replicas=3)], [work()], providers=[provider()], horizon=0.2))
        gateway = played.simulation.gateway
        every = [*gateway.pool_traits["identity"], *gateway.replica_traits["identity"]]
        assert len(set(every)) == len(every) == 5

    def test_a_written_cache_costs_what_writing_costs(self):
        price = PRICE | {"cache_write": "$1.25/Mtok"}
        assert traits_of(price=price, prompt_cache=10_000)["usd_per_prompt_token"] == pytest.approx(1.25e-6)
        assert traits_of(price=price)["usd_per_prompt_token"] == pytest.approx(1e-6)


class TestVerdicts:
    def verdict(self, at=None, **said):
        plan = make_plan(scenario([pool()], [work(**said)], providers=[provider(**(at or {}))]))
        return VERDICTS[plan.verdicts[0, 1]]

    def test_a_class_may_refuse_providers(self):
        assert self.verdict() == "eligible"
        assert self.verdict(providers="refused") == "provider_refused"

    def test_an_unknown_precision_is_none_that_could_be_asked_for(self):
        assert self.verdict(precision="fp4") == "precision_too_low"
        assert self.verdict({"precision": "fp8"}, precision="bf16") == "precision_too_low"
        assert self.verdict({"precision": "bf16"}, precision="bf16") == "eligible"

    def test_data_stays_in_its_zone(self):
        assert self.verdict(residency=["eu"]) == "outside_residency"
        assert self.verdict({"site": "eu-frankfurt"}, residency=["eu"]) == "eligible"

    def test_it_answers_for_one_model(self):
        plan = make_plan(
            scenario([pool(serves="windowed-model")], [work(models=["small-model"])], providers=[provider()])
        )
        assert [VERDICTS[code] for code in plan.verdicts[0]] == ["model_not_served", "eligible"]

    def test_it_needs_a_model_that_can_do_the_work(self):
        each = {"name": "e", "kind": "embedding", "prompt_tokens": 10, "models": ["small-model"]}
        each |= {"arrivals": {"process": "poisson", "rate": 1.0}}
        plan = make_plan(scenario([pool()], [each], providers=[provider()]))
        assert VERDICTS[plan.verdicts[0, 1]] == "not_capable"

    def test_what_does_not_fit_its_context_goes_elsewhere(self):
        lengths = {"distribution": "uniform", "low": 10, "high": 100}
        described = scenario([pool()], [work(prompt=lengths)], providers=[provider(context_limit=60)])
        decisions = run(described).decisions.merge(run(described).requests[["request_id", "prompt_tokens"]])
        expected = np.where(decisions["prompt_tokens"] + 20 > 60, "context_too_long", "eligible")
        assert (decisions["verdict_api"] == expected).all()


class TestOverflow:
    """A pool that can keep a promise of 1 s for some, and a provider that always keeps it, at any price."""

    def share_outside(self, providers, rate, usd="$100/Mtok"):
        at = provider(ttft="100ms", tokens_per_second="1000/s", price={"input": usd, "output": usd})
        policy = {"policy": "cheapest_feasible", "parameters": {"providers": providers}}
        own = pool("own", batching={"max_sequences": 4, "token_budget": 64})
        load = [work(rate=rate, prompt=40, output=40, promise={"ttft": 0.5})]
        described = scenario([own], load, providers=[at], horizon=5.0, routing={"placement": policy})
        return run(described).requests["provider"].notna().mean()

    def test_a_dear_provider_is_used_where_pools_would_break_the_promise(self):
        assert self.share_outside(2.0, rate=5.0) == 0.0
        assert 0.2 < self.share_outside(2.0, rate=150.0) < 0.9

    def test_a_cheap_provider_is_first_choice_unless_it_is_for_overflow_only(self):
        assert self.share_outside(1.0, rate=5.0, usd="$0/Mtok") == 1.0
        assert self.share_outside(2.0, rate=5.0, usd="$0/Mtok") == 0.0

    def test_never_is_never_while_there_is_a_pool(self):
        assert self.share_outside(0.0, rate=150.0) == 0.0
        policy = {"policy": "cheapest_feasible", "parameters": {"providers": 0.0}}
        described = scenario(
            [pool("own", serves="windowed-model")], [work()], providers=[provider()], routing={"placement": policy}
        )
        assert run(described).requests["provider"].notna().all()


class TestWhatAScenarioSays:
    def refused(self, **said):
        with pytest.raises((InputError, ValueError)) as caught:
            make_plan(scenario([pool()], [work()], providers=[provider(**said)]))
        return str(caught.value)

    def test_one_price(self):
        assert "write either offer" in self.refused(offer="openai/gpt-4o")
        assert "write either offer" in self.refused(price=None)

    def test_names_that_do_not_exist(self):
        assert "providers[0].offer: unknown offer" in self.refused(offer="openai/gpt-4p", price=None)
        assert "providers[0].tier: openai/gpt-4o has no tier 'flex'" in self.refused(
            offer="openai/gpt-4o", price=None, tier="flex"
        )
        assert "providers[0].site: unknown site" in self.refused(site="mars")
        assert "providers[0].model" in self.refused(model="gpt-9")

    def test_a_name_is_used_once_among_pools_and_providers(self):
        assert "the name 'p' is used twice" in self.refused(name="p")

    def test_a_batch_has_no_rate(self):
        assert "remove tokens_per_second" in self.refused(tier="batch")

    def test_quantities_have_units(self):
        found = make_plan(
            scenario(
                [pool()],
                [work()],
                providers=[provider(tokens_per_second="4800/min", prompt_cache="8k tokens", ttft="2min")],
            )
        ).providers[0]
        assert found.draws[1] == pytest.approx(80.0)
        assert found.draws[0] == pytest.approx(120.0)
        assert found.spec.prompt_cache == 8000

    def test_a_tier_multiplies_a_price_and_has_latencies_of_its_own(self):
        plain = {"ttft": None, "tokens_per_second": None}
        plans = [
            make_plan(scenario([pool()], [work()], providers=[provider(tier=tier, **plain)])).providers[0]
            for tier in ("standard", "priority", "flex", "batch")
        ]
        assert [each.usd_per_prompt_token for each in plans] == pytest.approx([1e-6, 1.75e-6, 0.5e-6, 0.5e-6])
        medians = [np.median(each.draws[0]) for each in plans]
        assert medians[1] < medians[0] < medians[2] < medians[3]
        assert np.isinf(plans[3].draws[1]).all()


class TestTasks:
    """Calls of tasks that providers answer, where no pool serves their model."""

    def played(self, at=None, steps=None, each=None, **said):
        call = work("c", prompt=20, output=11, **(each or {})) | {"arrivals": {"process": "tasks"}}
        task = {
            "name": "t",
            "arrivals": {"process": "poisson", "rate": 5.0},
            "steps": steps or [{"call": "c"}, {"wait": 0.5}, {"call": "c"}],
            **said,
        }
        nobody = pool("idle", serves="windowed-model")
        return run(scenario([nobody], [call], tasks=[task], providers=[provider(**(at or {}))], horizon=3.0))

    def test_a_task_takes_as_long_and_costs_as_much_as_its_calls(self):
        played = self.played()
        tasks, requests = played.frame("tasks"), played.requests
        assert set(tasks["outcome"]) == {"completed"}
        assert set(requests["provider"]) == {"api"}
        assert tasks["task_latency_s"].to_numpy() == pytest.approx(2 * 2.0 + 0.5)
        cost = requests.groupby("task")["provider_cost_usd"].sum()
        assert tasks.set_index("task")["attributed_cost_usd"].sort_index().tolist() == pytest.approx(cost.tolist())

    def test_the_ledger_says_which_tasks_a_provider_worked_for(self):
        played = self.played()
        summary = summarise(played.result)
        (row,) = [row for row in summary.ledger if row.provider is not None]
        assert (row.class_name, row.task_class) == ("c", "t")
        (task,) = summary.tasks
        assert task.cost_usd == pytest.approx(row.provider_usd)
        assert sum(each.cost_usd for each in summary.ledger) == pytest.approx(summary.fleet.cost_usd)

    def test_a_task_that_gives_up_takes_its_calls_from_the_provider(self):
        played = self.played(steps=[{"call": "c"}], timeout=1.5)
        assert set(played.frame("tasks")["outcome"]) == {"timed_out"}
        requests = played.requests
        assert set(requests["outcome"]) == {"cancelled"}
        assert set(requests["generated_tokens"]) == {1 + 5}
        assert (played.fleet.live_pools["running"] == 0).all()

    def test_answers_are_as_good_as_the_model_in_the_provider_s_precision(self):
        curve = {"ability": 0.0, "slope": 1.0, "ceiling": 1.0}
        answers = {"answers": {"noticed": 0.0, "curves": {"small-model": curve}, "difficulty": 0.0}}
        played = self.played(steps=[{"call": "c"}], each=answers)
        judged = played.requests["answer"]
        assert 0 < (judged == "good").sum() < len(judged)
