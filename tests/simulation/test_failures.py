"""Crashes, outages, slow nodes and lost tools: what they take, what they leave, and what is done about them."""

from __future__ import annotations

import numpy as np
import pytest
from oracle.small import chip, closed, model, pool, run, scenario, work
from pydantic import ValidationError

from inferencesim.kernel.tables import CRASH, DOWN, REPAIR
from inferencesim.results.constraints import check_constraints
from inferencesim.results.summarise import summarise
from inferencesim.simulation.failures import failure_table, outages
from inferencesim.simulation.plan import make_plan

RETRY = {"attempts": 3, "back_off": 0.01}
CRASHES = {"replica": "p", "mtbf": 0.5, "mttr": 0.1}


#: An outside provider with a tenth of a second to its first token.
API = {
    "name": "api", "price": {"input": "$1/Mtok", "output": "$4/Mtok"}, "model": model(), "ttft": "0.1s",
    "tokens_per_second": "200/s", "site": "eu-frankfurt", "prompt_cache": 100_000,
}  # fmt: skip


def outage(at, lasts, name="p"):
    return {"pool": name, "at": at, "for": lasts}


def broken(*failures, pools=None, workload=None, **said):
    pools = pools or [pool(replicas=2)]
    return run(
        scenario(
            pools, workload or [work(rate=100.0, output=60)], **{"failures": list(failures), "horizon": 1.0, **said}
        )
    )


def spans(described):
    down = outages(make_plan(described))
    return list(zip(down.target.tolist(), down.from_s.tolist(), down.to_s.tolist(), strict=True))


class TestTheSchedule:
    def plan(self, *failures, pools=None, **said):
        return scenario(pools or [pool(replicas=3)], [work()], failures=list(failures), **said)

    def test_an_outage_takes_all_replicas_from_then_until_they_have_their_weights_again(self):
        load_s = make_plan(self.plan()).deployments[0].load_s
        assert load_s > 0.0
        assert spans(self.plan(outage(0.5, 0.25))) == [(each, 0.5, 0.75 + load_s) for each in range(3)]

    def test_an_outage_of_a_site_takes_the_pools_that_stand_there(self):
        pools = [pool("p"), pool("q", site="eu-frankfurt", replicas=2), pool("r", site="eu-frankfurt")]
        down = spans(self.plan({"site": "eu-frankfurt", "at": 0.5, "for": 0.25}, pools=pools))
        assert [replica for replica, *_ in down] == [1, 2, 3]

    def test_what_overlaps_is_one_outage(self):
        down = spans(self.plan(outage(0.5, 0.25), outage(0.6, 0.3), outage(0.7, 0.05)))
        assert [replica for replica, *_ in down] == [0, 1, 2]
        assert down[0][1:] == pytest.approx((0.5, 0.9), abs=1e-3)

    def test_random_crashes_have_the_means_that_were_asked_for(self):
        down = outages(make_plan(self.plan(CRASHES, pools=[pool(replicas=8)], horizon=200.0, drain=0.0)))
        assert (down.to_s - down.from_s).mean() == pytest.approx(0.1, rel=0.1)
        assert len(down.target) == pytest.approx(8 * 200.0 / 0.6, rel=0.1)
        assert down.down_s(range(8), 0.0, 200.0) / (8 * 200.0) == pytest.approx(1 / 6, rel=0.1)

    def test_failures_depend_on_the_seed_and_on_what_fails_alone(self):
        of = self.plan(CRASHES)
        table = failure_table(make_plan(of))
        other_load = scenario([pool(replicas=3)], [work("x", 3.0), work("y")], failures=[CRASHES])
        np.testing.assert_array_equal(failure_table(make_plan(other_load)), table)
        for policy in ("round_robin", "least_outstanding"):
            routed = of.model_copy(update={"routing": of.routing.model_validate({"placement": policy})})
            np.testing.assert_array_equal(failure_table(make_plan(routed)), table)
        more = spans(self.plan(CRASHES, pools=[pool(replicas=5)]))
        assert [each for each in more if each[0] < 3] == spans(of)
        assert spans(of.model_copy(update={"seed": 1})) != spans(of)

    def test_pool_and_site_fail_at_random_together(self):
        for failure in ({"pool": "p", "mtbf": 1, "mttr": 0.5}, {"site": "us-east-virginia", "mtbf": 1, "mttr": 0.5}):
            down = spans(self.plan(failure, drain=0.0, horizon=20.0))
            first, second = ([each[1:] for each in down if each[0] == replica] for replica in (0, 1))
            assert first == second
            assert 5 < len(first) < 40

    def test_some_replicas_crash_by_schedule_and_which_ones_is_drawn(self):
        pools = [pool(replicas=10)]
        once = {"replica": "p", "at": 0.5, "for": 0.25}
        load_s = make_plan(self.plan()).deployments[0].load_s
        one, three = (self.plan(once | said, pools=pools) for said in ({}, {"share": 0.3}))
        assert len(spans(one)) == 1
        assert [each[1:] for each in spans(three)] == [(0.5, 0.75 + load_s)] * 3
        others = (spans(three.model_copy(update={"seed": seed})) for seed in range(1, 6))
        assert any([each[0] for each in down] != [each[0] for each in spans(three)] for down in others)

    def test_each_replica_is_slow_by_itself_at_random(self):
        slow = {"slow": "p", "factor": 2, "mtbf": 0.9, "mttr": 0.1}
        table = failure_table(make_plan(self.plan(slow, pools=[pool(replicas=8)], horizon=300.0, drain=0.0)))
        slower, again = table[table["pace"] == 2.0], table[table["pace"] == 1.0]
        assert len(np.unique(slower["target"])) == 8
        assert len(np.unique(slower["at_s"])) == len(slower) == pytest.approx(8 * 300, rel=0.1)
        of_first = [each[each["target"] == 0]["at_s"] for each in (slower, again)]
        assert (of_first[1] - of_first[0]).mean() == pytest.approx(0.1, rel=0.3)
        some = failure_table(make_plan(self.plan(slow | {"share": 0.25}, pools=[pool(replicas=8)], horizon=50.0)))
        assert len(np.unique(some["target"])) == 2

    def test_who_is_slow_is_drawn_and_factors_multiply(self):
        slow = {"slow": "p", "share": 0.34, "factor": 2, "at": 0.1, "for": 0.4}
        both = [slow | {"share": 1.0}, slow | {"share": 1.0, "factor": 3, "at": 0.2, "for": 0.1}]
        one = failure_table(make_plan(self.plan(slow)))
        assert one["pace"].tolist() == [2.0, 1.0]
        table = failure_table(make_plan(self.plan(*both)))
        of_first = table[table["target"] == 0]
        assert of_first["pace"].tolist() == [2.0, 6.0, 2.0, 1.0]
        assert of_first["at_s"] == pytest.approx([0.1, 0.2, 0.3, 0.5])


class TestAnswersToMistakes:
    @pytest.mark.parametrize(
        ("failure", "says"),
        [
            ({"replica": "q", "mtbf": 1, "mttr": 1}, "failures\\[0\\].replica: there is no pool 'q'"),
            (
                {"site": "eu-frankfrut", "at": 1, "for": 1},
                "failures\\[0\\].site: there is no pool or provider at the site",
            ),
            ({"tool": "boxs", "share": 0.1, "timeout": 1}, "failures\\[0\\].tool: there is no tools 'boxs'"),
            ({"pool": "p", "at": 1}, "either at and for, or mtbf and mttr"),
            ({"pool": "p", "at": 1, "for": 1, "mtbf": 3, "mttr": 1}, "either at and for, or mtbf and mttr"),
            ({"pool": "p", "at": 1, "mttr": 1}, "either at and for, or mtbf and mttr"),
            ({"pool": "p"}, "either at and for, or mtbf and mttr"),
            ({"replica": "p", "mtbf": 1, "mttr": 1, "share": 0.5}, "share goes with at"),
            ({"slow": "p", "factor": 2, "mtbf": 1}, "either at and for, or mtbf and mttr"),
            ({"tool": "boxes", "share": 0.1, "timeout": 1, "at": 3}, "at and for go together"),
            ({"pol": "p", "at": 1, "for": 1}, "pool"),
            ({"pool": "p", "site": "x", "at": 1, "for": 1}, "are two failures"),
            ("p", "a failure is a mapping"),
            ({"slow": "p", "factor": 0.5, "at": 1, "for": 1}, "greater than 1"),
        ],
    )
    def test_the_message_names_place_and_remedy(self, failure, says):
        with pytest.raises(ValidationError, match=says):
            scenario([pool()], [work()], failures=[failure])

    def test_tools_are_lost_with_one_share(self):
        boxes = [{"name": "boxes", "hardware": chip("small-cpu"), "cores": 3}]
        lost = {"tool": "boxes", "share": 0.1, "timeout": 1}
        with pytest.raises(ValidationError, match="loses calls already"):
            scenario([pool()], [work()], failures=[lost, lost], tools=boxes)

    def test_what_fails_all_the_time_is_refused(self):
        from inferencesim.errors import InputError

        with pytest.raises(InputError, match=r"failures\[0\]: fails about"):
            spans(scenario([pool()], [work()], failures=[{"replica": "p", "mtbf": 1e-4, "mttr": 1e-4}], drain=600.0))


class TestACrash:
    def test_it_takes_everything_the_pool_holds_and_nothing_is_placed_until_the_repair(self):
        done = broken(outage(0.5, 0.25))
        requests, decisions = done.requests, done.decisions
        end_s = outages(done.plan).to_s[0]
        inside = (requests["arrived_s"] < 0.5) & ~(requests["finished_s"] <= 0.5 - 1e-9)
        assert inside.sum() > 3
        assert (requests["outcome"][inside] == "failed").all()
        assert (requests["finished_s"][inside] == 0.5).all()
        during = requests["arrived_s"].between(0.5, end_s, inclusive="left")
        assert during.sum() > 3
        assert (requests["reason"][during] == "unhealthy").all()
        assert (decisions["verdict_p"][during] == "unhealthy").all()
        assert (requests["outcome"][~inside & ~during] == "completed").all()
        assert (requests["outcome"] == "failed").sum() == inside.sum()

    def test_one_replica_leaves_its_work_to_the_others(self):
        done = broken(CRASHES, pools=[pool(replicas=4)], workload=[work(rate=200.0)])
        requests, down = done.requests, outages(done.plan)
        assert (requests["outcome"] == "rejected").sum() == 0
        assert (requests["outcome"] == "failed").sum() > 2
        for replica in range(4):
            there = requests[requests["replica"] == replica]
            assert not down.down_at(replica, there["arrived_s"].to_numpy()).any()
            crashes = down.from_s[down.target == replica]
            lost = there[there["outcome"] == "failed"]
            assert set(lost["finished_s"]) <= set(crashes)
            for crash in crashes:
                stayed = (there["arrived_s"] < crash) & (there["finished_s"] > crash + 1e-9)
                assert not stayed.any()

    def test_what_it_did_until_then_is_charged_and_its_tokens_are_counted(self):
        done = broken(outage(0.5, 0.25))
        records, fleet = done.records(), done.fleet
        lost = records[records["outcome"] == 5]
        assert (lost["generated_tokens"] > 0).any()
        assert lost["busy_s"].sum() > 0.0
        assert records["busy_s"].sum() == pytest.approx(fleet.replicas["busy_s"].sum(), rel=1e-9)
        assert records["energy_j"].sum() == pytest.approx(fleet.replicas["busy_energy_j"].sum(), rel=1e-9)
        assert records["generated_tokens"].sum() == round(fleet.pools["output_tokens"].sum())

    def test_a_pool_that_is_down_is_paid_for_and_its_availability_is_known(self):
        done, calm = broken(outage(0.5, 0.25)), broken()
        summary, usual = summarise(done.result), summarise(calm.result)
        (of_pool,), (of_usual,) = summary.pools, usual.pools
        assert of_usual.availability == 1.0
        assert of_pool.availability == pytest.approx(0.75, abs=1e-4)
        assert of_pool.owned_usd == pytest.approx(of_usual.owned_usd)
        assert of_pool.energy_j < of_usual.energy_j
        assert summary.conservation.failed == (done.requests["outcome"] == "failed").sum() > 0
        assert summary.conservation.holds
        series = done.frame("series")
        during = series["time_s"].between(0.51, 0.74)
        assert (series["replicas_up"][during] == 0).all()
        assert (series["replicas_up"][series["time_s"] < 0.5] == 2).all()

    def test_clients_of_a_closed_loop_go_on(self):
        clients = work() | {"arrivals": closed(4, back_off=0.05)}
        done = broken(outage(0.3, 0.2), workload=[clients])
        outcomes = done.requests["outcome"].value_counts()
        assert outcomes["failed"] == 4
        assert outcomes["rejected"] > 3
        assert (done.requests["arrived_s"][done.requests["outcome"] == "completed"] > 0.6).any()

    def test_the_cache_is_empty_afterwards(self):
        cached = pool(prefix_cache=True)
        asked = work(rate=20.0, prompt=80, shared_prefix={"tokens": 400})
        requests = broken(outage(0.5, 0.2), pools=[cached], workload=[asked]).requests
        served = requests[requests["scheduled_s"].notna()]
        before, after = served[served["arrived_s"] < 0.5], served[served["arrived_s"] > 0.7]
        assert before["cached_tokens"].iloc[0] == after["cached_tokens"].iloc[0] == 0
        assert before["cached_tokens"].iloc[-1] == after["cached_tokens"].iloc[-1] == 400

    def test_prompts_are_read_at_home_while_nobody_else_is_up_to_it(self):
        pools = [pool("p", prefill_in={"pool": "q"}), pool("q")]
        requests = broken(outage(0.3, 0.3, "q"), pools=pools).requests
        during = requests["arrived_s"].between(0.3, 0.6)
        assert requests["prefill_pool"][during].isna().all()
        assert (requests["outcome"][during] == "completed").all()
        assert requests["prefill_pool"][~during].notna().all()

    @pytest.mark.parametrize("where", ["p", "q"])
    def test_it_takes_what_is_read_for_it_elsewhere_and_what_has_its_kv_there(self, where):
        slow = {"bandwidth": "1 MB/s", "latency": "1ms"}
        pools = [
            pool("p", prefill_in={"pool": "q"}, kv_link=slow, batching={"max_sequences": 4}),
            pool("q", kv_link=slow, batching={"token_budget": 256}),
        ]
        done = broken(outage(0.5, 0.1, where), pools=pools, workload=[work(rate=200.0, prompt=200)])
        records = done.records()
        lost = records[records["outcome"] == 5]
        assert (np.isnan(lost["first_token_s"])).any()
        assert (~np.isnan(lost["first_token_s"]) & (lost["generated_tokens"] == 1)).any()
        others = records[(records["arrived_s"] < 0.5) & (records["finished_s"] > 0.6)]
        if where == "p":
            assert others.size == 0
        else:
            # What had its KV at home by then is no concern of the pool that read it.
            assert (records["finished_s"][records["outcome"] == 1] > 0.5).any()
        assert (done.fleet.replicas["blocks_used"] == 0).all()


class TestRecovery:
    def test_what_failed_is_sent_again_elsewhere(self):
        done = broken(
            outage(0.5, 0.3),
            pools=[pool("p"), pool("q")],
            workload=[work(rate=100.0, output=60, retry=RETRY)],
        )
        requests = done.requests
        lost = requests[requests["outcome"] == "failed"]
        assert len(lost) > 2
        again = requests.merge(lost, on="task", suffixes=("", "_lost"))
        again = again[again["attempt"] == again["attempt_lost"] + 1]
        assert len(again) == len(lost)
        assert (again["pool"] == "q").all()
        assert again["arrived_s"].to_numpy() == pytest.approx(again["finished_s_lost"].to_numpy() + 0.01)
        tasks = done.frame("tasks")
        assert (tasks["outcome"] == "completed").all()
        assert tasks["wasted_cost_usd"].sum() == pytest.approx(lost["attributed_cost_usd"].sum())
        assert lost["attributed_cost_usd"].sum() > 0.0

    def test_no_more_often_than_the_budget_allows(self):
        done = broken(CRASHES | {"mtbf": 0.05}, workload=[work(rate=40.0, output=60, retry=RETRY)])
        requests = done.requests
        assert (requests["attempt"] == 3).any()
        assert requests["attempt"].max() == 3
        failed = done.frame("tasks").set_index("task")["outcome"] == "failed"
        assert failed.any()
        last = requests.sort_values("attempt").groupby("task").tail(1).set_index("task")
        assert (last["attempt"][failed] == 3).all()

    def test_only_after_what_its_class_says(self):
        done = broken(outage(0.5, 0.3), workload=[work(rate=100.0, output=60, retry=RETRY | {"after": ["rejected"]})])
        tasks, requests = done.frame("tasks"), done.requests
        lost = requests[requests["outcome"] == "failed"]
        assert len(lost) > 0
        assert (tasks.set_index("task")["outcome"][lost["task"]] == "failed").all()

    @pytest.mark.parametrize("survives", [False, True])
    def test_it_is_resumed_from_what_survived(self, survives):
        tiers = [{"name": "ssd", "capacity": "100 MB", "bandwidth": "1 GB/s", "survives": survives}]
        # Of twelve beginnings the device holds three.
        tight = pool(prefix_cache=True, kv_blocks=30, kv_tiers=tiers, batching={"block_size": 8})
        asked = work(rate=60.0, prompt=10, output=10, shared_prefix={"tokens": 80, "variants": 12})
        retried = asked | {"retry": RETRY | {"back_off": 0.15}}
        requests = broken(outage(0.5, 0.1), pools=[tight], workload=[retried]).requests
        served = requests[requests["scheduled_s"] > 0.5].sort_values("scheduled_s")
        assert (served["attempt"] > 0).any()
        assert (served["cached_tokens"].iloc[0] > 0) == survives

    def test_it_is_resumed_from_what_another_replica_has(self):
        alike = {"shared_prefix": {"tokens": 400}}
        pools = [pool("p", prefix_cache=True), pool("q", prefix_cache=True)]
        asked = work(rate=60.0, prompt=20, retry=RETRY, **alike)
        requests = broken(outage(0.5, 0.3), pools=pools, workload=[asked]).requests
        again = requests[(requests["attempt"] > 0) & (requests["pool"] == "q")]
        assert len(again) > 0
        assert (again["cached_tokens"] == 400).all()


class TestAProvider:
    def played(self, failure, **said):
        routing = {"placement": {"policy": "random"}}
        return broken(
            failure,
            pools=[pool()],
            workload=[work(rate=100.0, output=40, **said)],
            providers=[API],
            routing=routing,
        )

    @pytest.mark.parametrize("failed", [{"provider": "api"}, {"site": "eu-frankfurt"}])
    def test_what_is_in_flight_fails_and_nothing_is_sent_until_it_answers_again(self, failed):
        done = self.played(failed | {"at": 0.4, "for": 0.2})
        requests, decisions = done.requests, done.decisions
        lost = requests[requests["outcome"] == "failed"]
        assert len(lost) > 5
        assert (lost["provider"] == "api").all()
        np.testing.assert_array_equal(lost["finished_s"], 0.4)
        sent = requests["arrived_s"][requests["provider"] == "api"]
        assert not ((sent >= 0.4) & (sent < 0.6)).any()
        assert (sent >= 0.6).any()
        down = (decisions["time_s"] >= 0.4) & (decisions["time_s"] < 0.6)
        assert ((decisions["verdict_api"] == "unhealthy") == down).all()
        assert done.fleet.live_pools["running"][1] == 0
        assert summarise(done.result).providers[0].availability == pytest.approx(0.8)
        found = audited(done, requests, decisions)
        assert found["unhealthy"].state == found["verdicts"].state == "proven"

    def test_what_it_had_made_is_billed(self):
        lost = self.played({"provider": "api", "at": 0.4, "for": 0.2}).requests
        lost = lost[lost["outcome"] == "failed"]
        assert (lost["generated_tokens"] > 0).any()
        assert (lost["provider_cost_usd"] > 0.0).all()

    def test_its_requests_are_sent_again_elsewhere(self):
        done = self.played({"provider": "api", "at": 0.4, "for": 0.2}, retry=RETRY)
        requests = done.requests
        again = requests[(requests["attempt"] > 0) & (requests["arrived_s"] < 0.6)]
        assert len(again) > 5
        assert (again["pool"] == "p").all()
        assert (done.frame("tasks")["outcome"] == "completed").all()


class TestSlowNodes:
    def test_steps_take_so_many_times_as_long_and_then_no_longer(self):
        alone = work(rate=4.0, output=30)
        slow = {"slow": "p", "factor": 3, "at": 1.0, "for": 2.0}
        one_by_one = [pool(batching={"max_sequences": 1})]
        usual = broken(workload=[alone], pools=one_by_one, horizon=4.0).requests
        done = broken(slow, workload=[alone], pools=one_by_one, horizon=4.0)
        requests = done.requests
        ratio = requests["decode_s"] / usual["decode_s"]
        inside = (requests["scheduled_s"] > 1.0) & (requests["finished_s"] < 3.0)
        before = requests["finished_s"] < 1.0
        after = requests["scheduled_s"] > 3.1
        assert inside.sum() > 2
        np.testing.assert_allclose(ratio[inside], 3.0, rtol=1e-6)
        np.testing.assert_allclose(ratio[before], 1.0, rtol=1e-9)
        np.testing.assert_allclose(ratio[after], 1.0, rtol=1e-9)
        np.testing.assert_allclose((requests["prefill_s"] / usual["prefill_s"])[inside], 3.0, rtol=1e-6)


def audited(done, requests, decisions):
    found = check_constraints(done.plan, requests, decisions, done.result.end.at_s)
    return {each.name: each for each in found}


def test_the_audit_proves_that_nothing_was_placed_on_what_was_down():
    done = broken(CRASHES, outage(0.2, 0.1))
    found = audited(done, done.requests, done.decisions)
    assert found["unhealthy"].state == found["verdicts"].state == "proven"
    assert found["unhealthy"].rows > 10
    # Moved by a hand into an outage of its replica, a row is found.
    down, doctored = outages(done.plan), done.decisions
    row = doctored.index[doctored["replica"].notna()][0]
    replica = int(doctored.loc[row, "replica"])
    doctored.loc[row, "time_s"] = down.from_s[down.target == replica][0]
    found = audited(done, done.requests, doctored)
    assert found["unhealthy"].state == "broken"
    assert found["unhealthy"].examples == (int(doctored.loc[row, "request_id"]),)
    assert audited(done, done.requests, None)["unhealthy"].state == "proven"
    said = done.decisions
    said.loc[said["verdict_p"] == "unhealthy", "verdict_p"] = "queue_full"
    found = audited(done, done.requests, said)
    assert found["verdicts"].state == "broken"


def test_replicas_are_down_exactly_while_the_schedule_says_so():
    done = broken(CRASHES, horizon=2.0)
    table, down = done.fleet.failures, outages(done.plan)
    played = table[: int(done.fleet.clock["next_failure"][0])]
    ups = 2 - (played["kind"] == CRASH).sum() + (played["kind"] == REPAIR).sum()
    assert done.fleet.pools["up"][0] == ups
    last = played["at_s"].max()
    for replica in range(2):
        assert (done.fleet.replicas["segment"][replica] == DOWN) == down.down_at(replica, np.array([last]))[0]
