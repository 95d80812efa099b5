"""The story of a task: everything in it is what was recorded, and it is told of every task."""

from __future__ import annotations

import numpy as np
import pytest
from doctoring import rewrite
from oracle.small import pool, scenario, work
from oracle.task_worlds import TOOLS, called, mixed, tasks
from rich.console import Console

from inferencesim import Run, simulate
from inferencesim.errors import InputError
from inferencesim.report.evidence import explanation_text
from inferencesim.report.task_evidence import task_list_tables, task_text
from inferencesim.results.explanation import Stories
from inferencesim.results.recorded import plan_of
from inferencesim.results.run_folder import part_files
from inferencesim.results.task_story import TaskStories, explain_task, worst_tasks


@pytest.fixture(scope="module")
def run():
    return simulate(mixed())


@pytest.fixture(scope="module")
def stories(run):
    return TaskStories(run)


def printed(parts):
    console = Console(width=200)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get()


def numbers(run, of, **having):
    tasks = run.tasks[(run.tasks["task_class"] == of).to_numpy(bool)]
    for name, value in having.items():
        tasks = tasks[(tasks[name] == value).to_numpy(bool)]
    return tasks["task"].tolist()


def test_every_request_and_every_task_is_explained(run, stories):
    """Each row of the run is in a story; whatever a task's row says, the story of its steps adds up to."""
    requests = Stories(run)
    for number in run.requests["request_id"]:
        told = requests.of(int(number))
        assert told.decided is not None
        assert told.happened.cause is not None or told.happened.promise_kept is not False
    in_tasks = set()
    for row in run.tasks.itertuples():
        told = stories.of(row.task_class, row.task)
        tries = [each for step in told.steps for each in step.tries]
        in_tasks |= {each.told.request_id for each in tries}
        assert len(tries) == row.calls
        assert [each.attempt for step in told.steps for each in step.tries] == [
            place for step in told.steps for place in range(len(step.tries))
        ]
        asked = [each.asked_as for each in tries]
        assert asked.count("sent_again") + asked.count("asked_again") <= row.retries
        assert asked.count("escalated") <= row.escalations
        assert sum(step.person for step in told.steps) == row.people
        assert sum(told.parts.model_dump().values()) == pytest.approx(told.latency_s, abs=1e-9)
        assert (told.cause is None) == (told.promise_kept is not False)
        assert told.cause is None or told.cause.by is not None
        assert sum(each.told.happened.cost_usd for each in tries) == pytest.approx(told.cost.requests_usd)
        assert printed(task_text(told))
    owned = run.requests["request_id"][run.requests["task_class"].notna()]
    assert in_tasks == set(owned)
    # There was something to tell.
    outcomes = set(run.tasks["outcome"])
    assert {"completed", "failed", "open"} <= outcomes
    assert run.tasks[["retries", "escalations", "people", "wrong"]].sum().gt(0).all()


def test_branches_are_told_of_who_came_to_them(run, stories):
    steps = run.steps[run.steps["step"].astype(str).str.contains("fan_out") & run.steps["due_s"].notna()]
    came = set(zip(steps["task_class"], steps["task"], strict=True))
    told = {key: stories.of(*key) for key in zip(run.tasks["task_class"], run.tasks["task"], strict=True)}
    assert {key for key, each in told.items() if each.fan_out > 1} == came
    drawn = run.tasks[run.tasks["fan_out"] > 1]
    assert 0 < len(came) < len(drawn)


def test_the_longest_chain_is_what_the_task_waited_for(run, stories):
    for number in numbers(run, "agent", outcome="completed"):
        told = stories.of("agent", number)
        chain = [step for step in told.steps if step.on_longest_chain]
        assert chain[0].due_s == told.arrived_s
        assert chain[-1].ended_s == told.finished_s
        np.testing.assert_array_equal([step.due_s for step in chain[1:]], [step.ended_s for step in chain[:-1]])
        waited = sum(s.began_s - s.due_s for s in chain if s.kind == "tool")
        assert told.parts.cores == pytest.approx(waited)


def test_tools_are_paid_for_by_the_cores_they_held(run, stories):
    (tools,) = plan_of(run.manifest).tools
    number = numbers(run, "agent", outcome="completed")[0]
    told = stories.of("agent", number)
    used = run.tasks.set_index(["task_class", "task"]).loc[("agent", number), "tool_s"]
    price = tools.usd_per_s / tools.cores + tools.core_w * tools.node_tariff.at(0.0)
    assert told.cost.tools_usd == pytest.approx(used * price)
    assert told.cost.total_usd == pytest.approx(told.cost.tools_usd + told.cost.requests_usd + told.cost.people_usd)


def test_tools_cost_what_electricity_costs_while_they_run():
    """Dear for the first second, for nothing after that: a joule of the tool costs what it costs at its time."""
    task = tasks([{"tool": "boxes", "time": "0.7s"}, {"call": "c"}], rate=4.0)
    boxes = {"name": "boxes", "hardware": "intel-xeon-6980p", "nodes": 1, "cores": 64}
    economics = {"electricity": "$36/kWh", "pue": 1.0, "tariff": [{"from": "1s", "to": "24h", "electricity": 0.0}]}
    played = simulate(scenario([pool()], [called()], tasks=[task], tools=[boxes], economics=economics))
    (plan,), told_by = plan_of(played.manifest).tools, TaskStories(played)
    ends = []
    for number in numbers(played, "t"):
        told = told_by.of("t", number)
        used = next(step for step in told.steps if step.kind == "tool")
        ended_s = min(used.ended_s, told.finished_s)
        dear_s = max(0.0, min(1.0, ended_s) - used.began_s)
        expected = (ended_s - used.began_s) * plan.usd_per_s / plan.cores + dear_s * plan.core_w * 1e-5
        assert told.cost.tools_usd == pytest.approx(expected)
        ends.append((used.began_s, ended_s))
    assert any(began_s < 1.0 < ended_s for began_s, ended_s in ends)


def test_a_cascade_is_told_try_by_try(run, stories):
    people = [stories.of("support", number) for number in numbers(run, "support", people=1)]
    told = next(each for each in people if each.outcome == "completed")
    (step,) = told.steps
    assert [each.asked_as for each in step.tries] == ["first", "asked_again", "escalated", "asked_again"]
    assert [each.told.happened.model for each in step.tries] == ["small-model"] * 2 + ["windowed-model"] * 2
    assert told.cost.people_usd == 4.0
    text = printed(task_text(told))
    assert "the next model asked" in text
    assert "then a person answered" in text
    assert "2 sent or asked again, 1 of the next model, 1 answers by people" in text
    assert told.parts.people == pytest.approx(1.05)


def test_a_request_of_a_cascade_names_its_task_its_attempt_and_how_good_its_answer_was(run, stories):
    number = numbers(run, "support", people=1)[0]
    tries = stories.of("support", number).steps[0].tries
    requests = [Stories(run).of(each.told.request_id) for each in tries]
    assert [(each.called.task, each.called.step, each.called.attempt) for each in requests] == [
        (f"support/{number}", "call", attempt) for attempt in range(4)
    ]
    assert {each.called.answer for each in requests} == {"bad"}
    escalated = printed(explanation_text(requests[2]))
    assert f"For the one call of task support/{number}, attempt 3: asked again," in escalated
    assert "the answer before was bad: the next model." in escalated
    assert "Its answer was bad, and that was noticed." in escalated
    assert "attempt 2: asked again, for the answer before was bad: the same model" in printed(
        explanation_text(requests[1])
    )


def test_a_request_of_an_agent_names_the_step_it_is_for(run):
    row = run.requests[(run.requests["class"] == "research") & (run.requests["attempt"] == 1)].iloc[0]
    told = Stories(run).of(int(row["request_id"]))
    assert told.called.task == f"agent/{row['task']}"
    assert told.called.step == row["step"]
    assert told.called.answer is None
    text = printed(explanation_text(told))
    assert f"For call {row['step'].removeprefix('steps')} of task agent/{row['task']}, attempt 2: sent again" in text
    assert "Its answer was" not in text


def test_a_request_of_no_task_names_none(run):
    number = int(run.requests["request_id"][run.requests["class"] == "chat"].iloc[0])
    told = Stories(run).of(number)
    assert told.called is None
    assert "of task" not in printed(explanation_text(told))


def test_what_nobody_answered_is_sent_again(run, stories):
    rejected = run.requests[(run.requests["attempt"] == 2) & (run.requests["class"] == "research")].iloc[0]
    told = stories.of("agent", int(rejected["task"]))
    step = next(each for each in told.steps if len(each.tries) == 3)
    assert [each.asked_as for each in step.tries] == ["first", "sent_again", "sent_again"]
    assert "sent again" in printed(task_text(told))


def test_a_request_says_where_it_went_why_and_what_another_would_have_cost(run, stories):
    told = stories.of("agent", numbers(run, "agent", outcome="completed")[0])
    text = " ".join(printed(task_text(told)).split())
    (first,) = next(step.tries for step in told.steps if step.tries)
    at = first.told.happened
    where = f"provider {at.provider}" if at.provider else f"pool {at.pool} replica {at.replica}"
    assert f"class guard to {where} (small-model, " in text
    assert f"by random of {sum(each.verdict == 'eligible' for each in first.told.decided.candidates)}" in text
    assert f"cheapest other {first.told.decided.cheapest_other.name} at $" in text
    both = [
        (each.told.decided.predicted_here.cost_usd, each.told.decided.cheapest_other.predicted.cost_usd)
        for step in told.steps
        for each in step.tries
        if each.told.decided.cheapest_other is not None and each.told.decided.predicted_here is not None
    ]
    assert told.alternative.requests == len(both) > 0
    assert told.alternative.chosen_usd == pytest.approx(sum(chosen for chosen, _ in both))
    assert told.alternative.other_usd == pytest.approx(sum(other for _, other in both))


def test_a_long_task_is_folded_unless_all_of_it_is_asked_for(run, stories):
    longest = run.tasks[run.tasks["task_class"] == "agent"].sort_values("calls")["task"].iloc[-1]
    told = stories.of("agent", int(longest))
    folded, whole = printed(task_text(told)), printed(task_text(told, every=True))
    assert len(told.steps) > 24
    assert "like those above (--all tells" in folded
    assert "like those above" not in whole
    for step in told.steps:
        if len(step.tries) > 1:
            assert str(step.tries[0].told.request_id) in folded
        for each in step.tries:
            assert str(each.told.request_id) in whole


def test_the_worst_of_a_class(run):
    found = worst_tasks(run, "agent", count=5)
    assert found.promised_s == 1.0
    assert found.promises.broken == len(numbers(run, "agent", promise_kept=False)) > 0
    assert sum(each.tasks for each in found.promises.causes) == found.promises.broken
    assert [each.promise_kept for each in found.worst] == [False] * 5
    latencies = [each.latency_s for each in found.worst]
    assert latencies == sorted(latencies, reverse=True)
    assert found.worst[0].name in printed(task_list_tables(found))
    assert explain_task(run, "agent", int(found.worst[0].name.split("/")[1])).latency_s == latencies[0]


class TestWhatCannotBeExplained:
    def test_a_class_that_is_none(self, run):
        with pytest.raises(InputError, match=r"no such class of tasks\. Did you mean 'agent'"):
            worst_tasks(run, "agnet")

    def test_a_task_that_never_came(self, run):
        with pytest.raises(InputError, match=r"no such task\. Its numbers run from 0 to"):
            explain_task(run, "agent", 10**6)

    def test_a_run_without_tasks(self):
        with pytest.raises(InputError, match="has no tasks"):
            worst_tasks(simulate(scenario([pool()], [work()])), "agent")

    def test_a_task_outside_the_sample(self):
        run = simulate(mixed(recording={"evidence": "sampled", "share": 0.3}))
        kept = numbers(run, "agent")
        outside = next(number for number in range(100) if number not in kept)
        with pytest.raises(InputError, match="evidence was sampled"):
            explain_task(run, "agent", outside)
        assert explain_task(run, "agent", kept[0]).task == kept[0]

    def test_a_run_of_another_version(self, tmp_path):
        simulate(mixed(), out=tmp_path / "run")
        for part in range(len(part_files(tmp_path / "run", "steps"))):
            rewrite(tmp_path / "run", "steps", lambda rows: rows.drop_columns(["due_s"]), part)
        with pytest.raises(InputError, match=r"no usable due_s\. Run it again"):
            worst_tasks(Run.load(tmp_path / "run"), "agent")


@pytest.fixture(scope="module")
def losing():
    steps = [{"call": "c"}, {"tool": "boxes", "time": 0.05}]
    lost = {"tool": "boxes", "share": 0.3, "timeout": 0.3, "retries": 1}
    described = scenario(
        [pool()], [called("c")], tasks=[tasks(steps, rate=30.0, promise={"latency": 0.2})], tools=TOOLS,
        failures=[lost], horizon=5.0,
    )  # fmt: skip
    return simulate(described)


class TestLostTools:
    def test_every_second_is_told_as_what_it_was(self, losing):
        stories = TaskStories(losing)
        for row in losing.tasks.itertuples():
            told = stories.of("t", row.task)
            parts = told.parts
            assert sum(parts.model_dump().values()) == pytest.approx(told.latency_s, abs=1e-9)
            assert parts.lost == pytest.approx(0.3 * row.lost_tools)
            assert parts.cores == pytest.approx(row.tool_wait_s, abs=1e-9)
            assert parts.tools + parts.lost == pytest.approx(row.tool_s, abs=1e-9)
        assert set(losing.tasks["lost_tools"]) == {0, 1, 2}

    def test_a_task_may_fail_by_a_tool(self, losing):
        stories = TaskStories(losing)
        failed = numbers(losing, "t", outcome="failed")
        assert len(failed) > 5
        for number in failed:
            told = stories.of("t", number)
            assert (told.cause.what, told.cause.by) == ("failed", "lost_tool")
            text = printed(task_text(told))
            assert "on boxes, 2 runs that never came back (600 ms); failed" in text
            assert "a tool it could not do without never came back" in text
        late = numbers(losing, "t", outcome="completed", lost_tools=1)
        for number in late:
            told = stories.of("t", number)
            assert told.cause.by == ("lost" if told.parts.cores < 0.3 else "cores")
            assert "ran on boxes, after 1 run that never came back (300 ms)" in printed(task_text(told))
        assert len(late) > 5
        assert "never came back" in printed(task_list_tables(worst_tasks(losing, "t")))

    def test_runs_that_were_lost_have_their_price(self, losing):
        stories, tasks = TaskStories(losing), losing.tasks.set_index("task")
        usd = {number: stories.of("t", number).cost.tools_usd for number in tasks.index}
        well = tasks.index[(tasks["lost_tools"] == 0) & (tasks["outcome"] == "completed")][0]
        for number, cost in usd.items():
            assert cost / usd[well] == pytest.approx(tasks["tool_s"][number] / tasks["tool_s"][well])
