"""Tasks: graphs of calls and tools end exactly once, whatever fails, and as a naive twin says they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from oracle.small import pool, run, scenario, work
from oracle.task_graphs import Story
from oracle.task_worlds import TOOLS, called, tasks, worlds

from inferencesim.errors import InputError
from inferencesim.kernel.graph_tables import CALL, NODE_STATES, TASK_OUTCOMES, TOOL


def played(*described, workload=None, pools=None, tools=TOOLS, **said):
    return run(
        scenario(
            pools or [pool()], workload or [called()], tasks=list(described), tools=tools, **{"horizon": 3.0, **said}
        )
    )


def steps_of(done, task=0, of="t"):
    frame = done.frame("steps")
    return frame[(frame["task_class"] == of) & (frame["task"] == task)].sort_values("node").reset_index(drop=True)


def nodes_of(done):
    return done.simulation.gateway.graphs.nodes


def tasks_of(done):
    graphs, begun = done.simulation.gateway.graphs, int(done.fleet.clock["next_task"][0])
    return graphs.tasks[:begun]


def check(done):
    """Compare a run with the naive retelling, and what must hold in any run."""
    story, nodes, every = Story(done), nodes_of(done), tasks_of(done)
    assert [TASK_OUTCOMES[code] for code in every["outcome"]] == story.outcome[: len(every)]
    np.testing.assert_array_equal(every["finished_s"], story.finished[: len(every)])
    of = slice(0, int((every["first_node"] + every["nodes"]).max(initial=0)))
    states = [NODE_STATES[code] for code in nodes["state"][of]]
    assert states == story.state[of]
    for name, told in (("due_s", story.due), ("began_s", story.began), ("ended_s", story.ended)):
        np.testing.assert_array_equal(nodes[name][of], told[of])
    for tools, free in zip(done.simulation.gateway.graphs.tools, story.free, strict=True):
        assert tools["cores"] - tools["busy"] == free
    if not done.simulation._is_busy:
        # Every branch has ended, exactly once, and nothing is left anywhere.
        assert set(states) <= {"done", "failed", "cancelled"}
        assert every["inside"].sum() == 0
        assert done.fleet.live["running"].sum() + done.fleet.live["waiting"].sum() == 0
        assert len(done.frame("tasks")) == len(every) if len(every) else True
    made = np.bincount(nodes["task"], nodes["attempts"], minlength=max(1, every.size))
    np.testing.assert_array_equal(every["calls"], made[: every.size])


def test_tools_run_on_nodes_with_cores():
    with pytest.raises(InputError) as refused:
        played(tasks(CHAIN, rate=4.0), tools=[{**TOOLS[0], "hardware": "nvidia-h100-sxm"}])
    assert str(refused.value) == (
        "tools[0].hardware: tools run on cores, and nvidia-h100-sxm is a chip of the kind hbm_gpu. Shipped CPUs: "
        "amd-epyc-9965, amd-epyc-venice, intel-xeon-6980p, nvidia-grace. "
        "A profile of your own has to be of kind cpu or edge."
    )


#: Steps one after another.
CHAIN = [{"call": "c"}, {"tool": "boxes", "time": 0.25, "adds": 30}, {"wait": 0.5}, {"call": "c"}]


class TestOneAfterAnother:
    def test_a_step_begins_when_the_one_before_it_has_ended(self):
        done = played(tasks(CHAIN, rate=2.0))
        steps = steps_of(done)
        assert steps["kind"].tolist() == ["join", "call", "tool", "wait", "call", "join"]
        assert (steps["state"] == "done").all()
        np.testing.assert_array_equal(steps["due_s"][1:], steps["ended_s"][:-1])
        took = (steps["ended_s"] - steps["due_s"]).to_numpy()
        assert took[2:4] == pytest.approx([0.25, 0.5])
        check(done)

    def test_a_task_takes_from_its_arrival_to_the_end_of_its_last_step(self):
        done = played(tasks(CHAIN, rate=2.0))
        every = done.frame("tasks").set_index("task").sort_index()
        requests = done.requests
        for number, task in every.iterrows():
            calls = requests[requests["task"] == number]
            assert len(calls) == task["calls"] == 2
            assert task["task_latency_s"] == pytest.approx(calls["e2e_s"].sum() + 0.75)
            assert task["attributed_cost_usd"] == pytest.approx(calls["attributed_cost_usd"].sum())
            assert task["tool_s"] == pytest.approx(0.25)

    def test_the_context_grows_by_prompts_answers_and_results(self):
        done = played(tasks(CHAIN, rate=2.0), workload=[called(shared_prefix={"tokens": 100})])
        prompts = done.requests.groupby("task")["prompt_tokens"].agg(list)
        assert all(each == [120, 120 + 5 + 30 + 20] for each in prompts)

    @pytest.mark.parametrize(
        ("steps", "said", "prompts"),
        [
            ([{"call": "c"}, {"call": "c"}], {"context": "fresh"}, [20, 20]),
            ([{"call": "c"}, {"call": "c", "context": "fresh"}, {"call": "c"}], {}, [20, 20, 45]),
            ([{"call": "c"}, {"call": "c"}, {"call": "c"}], {"max_context": 60}, [20, 45, 20]),
            ([{"wait": 0.1, "adds": 7}, {"call": "c"}], {}, [27]),
        ],
    )
    def test_what_is_fresh_or_forgotten_is_not_in_the_prompt(self, steps, said, prompts):
        done = played(tasks(steps, rate=1.0, **said))
        assert all(each == prompts for each in done.requests.groupby("task")["prompt_tokens"].agg(list))

    def test_a_loop_runs_as_often_as_was_drawn(self):
        times = {"distribution": "histogram", "values": [1, 4], "weights": [1, 1]}
        done = played(tasks([{"repeat": {"times": times, "steps": [{"call": "c"}]}}]))
        assert set(done.frame("tasks")["calls"]) == {1, 4}
        check(done)

    def test_a_step_with_a_chance_is_taken_that_often(self):
        done = played(tasks([{"call": "c"}, {"call": "c", "chance": 0.3}], rate=100.0), horizon=5.0)
        extra = done.frame("tasks")["calls"] - 1
        assert extra.mean() == pytest.approx(0.3, abs=4 * (0.21 / len(extra)) ** 0.5)


class TestToolsNeedCores:
    def test_they_wait_for_them_first_come_first_served(self):
        done = played(tasks([{"tool": "boxes", "time": 0.5, "cores": 2}, {"call": "c"}], rate=4.0))
        steps = done.frame("steps")
        tools = steps[steps["kind"] == "tool"].sort_values("due_s")
        began, ended = tools["began_s"].to_numpy(), tools["ended_s"].to_numpy()
        # Three cores, two each: one at a time, in order.
        np.testing.assert_allclose(began[1:], np.maximum(tools["due_s"].to_numpy()[1:], ended[:-1]))
        every = done.frame("tasks")
        waited = every["tool_wait_s"].sum()
        assert waited == pytest.approx((began - tools["due_s"].to_numpy()).sum())
        assert waited > 1.0
        check(done)

    def test_more_cores_end_the_waiting(self):
        many = [{**TOOLS[0], "cores": 300}]
        done = played(tasks([{"tool": "boxes", "time": 0.5, "cores": 2}, {"call": "c"}], rate=4.0), tools=many)
        assert (done.frame("tasks")["tool_wait_s"] == 0.0).all()


class TestBranches:
    def fan(self, steps, **said):
        return {"fan_out": {"steps": steps, **said}}

    def test_all_are_waited_for(self):
        wait = {"wait": {"distribution": "uniform", "low": 0.1, "high": 0.9}}
        done = played(tasks([self.fan([{"call": "c"}, wait], width=3)], rate=3.0))
        steps = steps_of(done)
        join = steps[steps["step"] == "steps[0].fan_out.join"].iloc[0]
        inside = steps[steps["kind"] == "wait"]
        assert len(inside) == 3
        assert join["due_s"] == inside["ended_s"].max()
        check(done)

    def test_the_first_k_are_enough_and_the_others_are_cancelled(self):
        wait = {"wait": {"distribution": "uniform", "low": 0.1, "high": 0.9}}
        done = played(tasks([self.fan([wait, {"call": "c"}], width=4, join=2)], rate=3.0))
        for task in range(3):
            steps = steps_of(done, task)
            calls = steps[steps["kind"] == "call"]
            assert (calls["state"] == "done").sum() == 2
            join = steps[steps["step"] == "steps[0].fan_out.join"].iloc[0]
            assert join["due_s"] == calls["ended_s"][calls["state"] == "done"].max()
            assert (steps["ended_s"][steps["state"] == "cancelled"] == join["due_s"]).all()
        check(done)

    def test_a_cancelled_call_leaves_the_fleet(self):
        slow = {"tool": "boxes", "time": 0.05}
        long = called("long") | {"output_tokens": 5000}
        steps = [self.fan([{"call": "long"}], width=2, join="all")]
        done = played(tasks(steps, rate=1.0, timeout=0.5), workload=[long], drain=0.6)
        gone = done.requests
        assert (gone["outcome"] == "cancelled").all()
        assert (gone["finished_s"] - gone["arrived_s"] == pytest.approx(0.5)) if len(gone) == 1 else True
        assert (done.frame("tasks")["outcome"] == "timed_out").all()
        assert done.frame("tasks")["wasted_cost_usd"].sum() == pytest.approx(gone["attributed_cost_usd"].sum())
        del slow
        check(done)

    def test_a_branch_that_is_not_needed_breaks_no_promise_and_one_of_a_task_that_is_late_does(self):
        from inferencesim.results.summarise import summarise

        wait = {"wait": {"distribution": "uniform", "low": 0.0, "high": 0.2}}
        promising = called(promise={"e2e": 100.0}) | {"output_tokens": 200}
        done = played(tasks([self.fan([wait, {"call": "c"}], width=4, join=1)], rate=3.0), workload=[promising])
        requests = done.requests
        given_up = requests["outcome"] == "cancelled"
        assert given_up.sum() > 3
        assert requests["promise_kept"][given_up].isna().all()
        assert requests["promise_kept"][~given_up].all()
        (of_class,) = summarise(done.result).classes
        assert of_class.slo_attainment == 1.0
        late = played(tasks([{"call": "c"}], rate=3.0, timeout=0.05), workload=[promising])
        assert (late.requests["outcome"] == "cancelled").all()
        assert (late.requests["promise_kept"] == False).all()  # noqa: E712 - null is another thing

    def test_branches_that_share_the_context_share_its_kv(self):
        cached = pool(prefix_cache=True)
        steps = [{"call": "c"}, {"fan_out": {"width": 3, "context": "shared", "steps": [{"call": "c"}]}}]
        big = called() | {"prompt_tokens": 400}
        done = played(tasks(steps, rate=1.0), workload=[big], pools=[cached])
        fresh = [steps[0], {"fan_out": {"width": 3, "context": "fresh", "steps": [{"call": "c"}]}}]
        alone = played(tasks(fresh, rate=1.0), workload=[big], pools=[cached])
        inside = done.requests[done.requests["step"].str.contains("fan_out")]
        assert (inside["cached_tokens"] >= 384).all()
        apart = alone.requests[alone.requests["step"].str.contains("fan_out")]
        assert (apart["cached_tokens"] == 0).all()

    def test_siblings_share_nothing_that_was_said_after_the_fork(self):
        cached = pool(prefix_cache=True)
        steps = [
            {"call": "c"},
            {
                "fan_out": {
                    "width": 2,
                    "steps": [{"wait": {"distribution": "uniform", "low": 0.0, "high": 2.0}}, {"call": "c"}],
                }
            },
        ]
        done = played(tasks(steps, rate=1.0), workload=[called() | {"prompt_tokens": 400}], pools=[cached])
        inside = done.requests[done.requests["step"].str.contains("fan_out")]
        # 400 tokens and the answer were said before; the 400 of the branch itself are its own.
        assert inside["cached_tokens"].between(384, 405).all()


#: A pool whose KV cache no request fits.
TINY = {"kv_blocks": 2, "batching": {"block_size": 4}}


class TestFailure:
    def test_a_call_that_is_turned_away_fails_its_task(self):
        done = played(tasks([{"call": "c"}, {"call": "c"}]), pools=[pool(**TINY)])
        every = done.frame("tasks")
        assert (every["outcome"] == "failed").all()
        assert (every["calls"] == 1).all()
        assert every["task_latency_s"].isna().all()
        check(done)

    def test_a_join_goes_on_without_branches_it_can_spare(self):
        small = called("small")
        other = called("other", models=["expert-model"])
        pools = [pool("a"), pool("b", serves="expert-model", **TINY)]
        branch = {"repeat": {"times": 1, "steps": [{"call": "small"}, {"call": "other", "chance": 0.4}]}}
        done = played(
            tasks([{"fan_out": {"width": 4, "join": 2, "steps": [branch]}}], rate=5.0),
            workload=[small, other],
            pools=pools,
        )
        assert {"completed"} <= set(done.frame("tasks")["outcome"])
        assert (nodes_of(done)["lost"] > 0).any()
        check(done)


def test_of_two_clients_that_leave_at_once_whoever_is_in_a_step_is_let_go_later():
    """Both branches time out together; the one that waits fails, which cancels the other before its step ends."""
    steps = [{"call": "c"}, {"fan_out": {"width": 2, "join": "all", "steps": [{"call": "d"}]}}]
    workload = [called("c"), called("d", timeout=0.03), work("alone", rate=20.0)]
    slow = {"slow": "p", "factor": 2.5, "at": 0.1, "for": 0.6}
    cancelled = 0
    for seed in range(1, 5):
        done = played(
            tasks(steps, rate=15.0), workload=workload, pools=[pool(kv_blocks=14)], failures=[slow], seed=seed,
            horizon=1.0,
        )  # fmt: skip
        check(done)
        calls = done.frame("steps").merge(done.requests, on="request_id", suffixes=("", "_of_request"))
        cancelled += ((calls["state"] == "cancelled") & (calls["outcome"] == "timed_out")).sum()
    assert cancelled > 0


class TestLostTools:
    STEPS = ({"tool": "boxes", "time": 0.05}, {"call": "c"})

    def lost(self, **said):
        failure = {"tool": "boxes", "share": 0.25, "timeout": 0.3, **said}
        return played(tasks(list(self.STEPS), rate=30.0), failures=[failure], horizon=5.0)

    def test_they_are_noticed_after_the_timeout_and_run_again(self):
        done = self.lost(retries=50)
        steps, every = done.frame("steps"), done.frame("tasks").set_index("task")
        tools = steps[steps["kind"] == "tool"].set_index("task")
        assert (tools["state"] == "done").all()
        again = every["lost_tools"]
        assert again.sum() / every["tools"].sum() == pytest.approx(0.25, abs=0.08)
        assert every["tools"].tolist() == (again + 1).tolist()
        assert every["tool_s"].to_numpy() == pytest.approx((0.05 + 0.3 * again).to_numpy())
        check(done)

    def test_a_step_fails_once_its_retries_are_used(self):
        done = self.lost(retries=1)
        every = done.frame("tasks")
        assert every["lost_tools"].max() == 2
        assert ((every["outcome"] == "failed") == (every["lost_tools"] == 2)).all()
        check(done)

    def test_by_schedule_only_those_are_lost_that_begin_then(self):
        done = self.lost(share=1.0, retries=50, **{"at": 1.0, "for": 0.5})
        steps, every = done.frame("steps"), done.frame("tasks").set_index("task")
        tools = steps[steps["kind"] == "tool"].set_index("task")
        lost = every["lost_tools"] > 0
        assert lost.sum() > 5
        assert (tools["due_s"][lost] < 1.5).all()
        # Whoever began then was lost, and began anew: the last beginning of each, which is kept, is not then.
        assert not tools["began_s"].between(1.0, 1.5, inclusive="left").any()
        assert (tools["began_s"][lost] >= 1.5).all()
        assert (tools["state"] == "done").all()
        check(done)


def retell(described):
    done = run(described)
    check(done)
    counts = (
        np.bincount(
            [("open", "completed", "failed", "timed_out").index(each) for each in done.frame("tasks")["outcome"]],
            minlength=4,
        )
        if "tasks" in done.tables
        else np.zeros(4)
    )
    assert counts.sum() == int(done.fleet.clock["next_task"][0])


_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=60, deadline=None, suppress_health_check=_SLOW)
@given(worlds())
def test_any_graph_goes_as_the_naive_twin_says(described):
    retell(described)


@pytest.mark.long
@settings(max_examples=1500, deadline=None, suppress_health_check=_SLOW)
@given(worlds())
def test_many_graphs_go_as_the_naive_twin_says(described):
    retell(described)


def test_every_fleet_meets_the_same_graphs():
    """What is drawn for a task does not depend on who serves it, nor on what else there is."""
    steps = [
        {
            "repeat": {
                "times": {"distribution": "uniform", "low": 1, "high": 4},
                "steps": [
                    {"call": "c"},
                    {"tool": "boxes", "time": {"distribution": "uniform", "low": 0.0, "high": 1.0}},
                ],
            }
        }
    ]
    one = played(tasks(steps))
    other = played(tasks(steps), pools=[pool(replicas=3)], workload=[work("x"), called()])
    names = ("prompt_tokens", "output_tokens", "work_s", "kind", "needs", "branch_end")
    for name in names:
        np.testing.assert_array_equal(nodes_of(one)[name], nodes_of(other)[name])


def test_the_ledger_sums_to_the_totals_with_tools_and_idle_time():
    from inferencesim.results.summarise import summarise

    done = played(
        tasks([{"call": "c"}, {"tool": "boxes", "time": 0.5}]), workload=[called(), work("alone")], horizon=5.0
    )
    summary = summarise(done.result)
    total = sum(row.cost_usd for row in summary.ledger)
    assert summary.fleet.cost_usd == pytest.approx(total, rel=1e-12)
    (task,) = summary.tasks
    (boxes, search) = summary.tools
    assert boxes.utilisation > 0.1
    assert search.utilisation == 0.0
    # Whoever uses tools pays for all of them, idle cores included, as classes pay for idle pools.
    calls = [row for row in summary.ledger if row.task_class == "t"]
    assert {row.pool for row in calls} == {"p", "boxes"}
    classes = sum(each.cost_usd for each in summary.classes)
    assert classes + boxes.cost_usd + search.cost_usd == pytest.approx(total, rel=1e-12)
    of_class = next(each for each in summary.classes if each.name == "c")
    assert task.cost_usd == pytest.approx(of_class.cost_usd + boxes.cost_usd + search.cost_usd, rel=1e-9)
    assert task.cost_per_completed_task_usd == pytest.approx(task.cost_usd / task.completed_in_window)


def test_the_fleet_is_charged_per_task_and_per_request_that_belongs_to_none():
    from inferencesim.results.summarise import summarise

    noticed = {"difficulty": {"distribution": "uniform", "low": 0, "high": 1}, "retries": 2, "noticed": 0.5}
    done = played(
        tasks([{"repeat": {"times": 3, "steps": [{"call": "c"}]}}]),
        workload=[called(), work("alone", rate=5.0), work("asked_again", rate=5.0, answers=noticed)],
        horizon=5.0,
    )
    summary = summarise(done.result)
    of_tasks = {each.name: each.completed_in_window for each in summary.tasks}
    of_classes = {each.name: each.completed_in_window for each in summary.classes}
    assert of_classes["c"] > 2 * of_tasks["t"] > 0
    assert of_classes["asked_again"] > of_tasks["asked_again"] > 0
    fleet = summary.fleet
    assert fleet.completed_tasks_in_window == sum(of_tasks.values()) + of_classes["alone"]
    assert fleet.cost_per_completed_task_usd == pytest.approx(fleet.cost_usd / fleet.completed_tasks_in_window)
    assert fleet.energy_per_completed_task_j == pytest.approx(fleet.energy_j / fleet.completed_tasks_in_window)


def test_no_tasks_in_the_horizon_leave_empty_tables_and_a_summary():
    from inferencesim import simulate

    described = scenario([pool()], [called()], tasks=[tasks([{"call": "c"}], active={"from": "1h"})], horizon=2.0)
    kept = simulate(described)
    assert len(kept.tasks) == len(kept.steps) == len(kept.requests) == 0
    assert kept.summary.tasks[0].cost_per_completed_task_usd is None
    assert kept.summary.task_conservation.holds


def test_calls_and_tools_are_told_apart_in_the_tables():
    done = played(tasks([{"call": "c"}, {"tool": "search", "time": 0.1}]), workload=[called(), work("alone")])
    requests = done.requests
    assert requests["task_class"][requests["class"] == "alone"].isna().all()
    assert (requests["task_class"][requests["class"] == "c"] == "t").all()
    kinds = nodes_of(done)["kind"]
    assert (kinds == CALL).sum() == (kinds == TOOL).sum()


def test_steps_of_several_classes_in_the_same_place_have_one_name():
    steps = [{"call": "c"}, {"wait": 0.1}]
    done = played(
        tasks(steps, name="one"),
        tasks(steps[::-1], name="other"),
        workload=[called(), work("alone", retry={"attempts": 1}), work("alone2", retry={"attempts": 1})],
    )
    kinds = done.frame("steps").groupby(["task_class", "step"], observed=True)["kind"].agg(set).map(sorted)
    assert kinds["one", "steps[0]"] == kinds["other", "steps[1]"] == ["call"]
    assert kinds["alone", "call"] == kinds["alone2", "call"] == ["call"]
    assert len(set(done.simulation.gateway.graphs.tasks["class_index"])) == 4
