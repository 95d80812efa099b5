"""An audit proves what holds of every task, of any run, and finds the row that says otherwise."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest
from doctoring import rebuild_chain, rewrite, with_cell
from hypothesis import HealthCheck, given, settings
from oracle.small import run
from oracle.task_worlds import mixed, proven, worlds
from rich.console import Console

from inferencesim import Run, simulate
from inferencesim.report.evidence import audit_tables
from inferencesim.results.audit import audit
from inferencesim.results.run_folder import part_files, read_part

NAMES = {
    *("steps_drawn", "step_order", "joins", "tool_cores", "tries", "retry_budget", "task_sums", "task_promises"),
    "tasks_all_there",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks") / "run"
    simulate(mixed(), out=folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def states(found):
    return {each.name: each.state for each in found.constraints if each.name in NAMES}


def broken(folder):
    """Audit a doctored folder whose chain was written anew; return the constraints of tasks that are broken."""
    rebuild_chain(folder)
    found = audit(Run.load(folder))
    return {name for name, state in states(found).items() if state == "broken"}, found


def change(folder, table, having, **cells):
    """Set cells of the first row for which `having` holds; a function makes the new value of the old one."""
    for part in range(len(part_files(folder, table))):
        rows = read_part(part_files(folder, table)[part])
        frame = rows.to_pandas()
        places = np.flatnonzero(having(frame).to_numpy(bool))
        if places.size == 0:
            continue

        def doctored(rows, place=int(places[0]), frame=frame):
            for column, value in cells.items():
                new = value(frame[column].iloc[place]) if callable(value) else value
                rows = with_cell(rows, column, place, new)
            return rows

        rewrite(folder, table, doctored, part)
        return frame.iloc[places[0]]
    raise AssertionError("no such row")


def kind(name, state="done"):
    return lambda steps: (steps["kind"] == name) & (steps["state"] == state) & ~steps["step"].isin(["begin", "end"])


def test_a_run_of_tasks_holds(written):
    found = audit(Run.load(written))
    assert found.holds, found
    assert states(found) == dict.fromkeys(NAMES, "proven")
    assert all(each.rows > 0 for each in found.constraints if each.name in NAMES)
    assert not found.unproven


def test_broken_promises_of_tasks_have_their_causes(written):
    run = Run.load(written)
    found = audit(run)
    agent, support = found.tasks
    own = run.tasks[run.tasks["task_class"] == "agent"]
    assert (agent.tasks, agent.broken) == (len(own), int((own["promise_kept"] == False).sum()))  # noqa: E712
    assert sum(each.tasks for each in agent.causes) == agent.broken
    causes = {(each.what, each.by) for each in agent.causes}
    assert ("failed", "rejected") in causes
    assert {what for what, _ in causes} == {"failed", "timed_out", "latency"}
    assert support.name == "support"
    console = Console(width=160)
    with console.capture() as captured:
        for part in audit_tables(found):
            console.print(part)
    assert "a call it could not do without was rejected" in captured.get()
    assert "tools never held more cores than there are" in captured.get()


class TestDoctoredRows:
    """The chain is rebuilt each time: what is found is found from the rows alone."""

    @pytest.mark.parametrize(
        ("what", "cells", "expected"),
        [
            ("call", {"due_s": lambda old: old - 0.001}, {"step_order"}),
            ("call", {"due_s": None}, {"step_order"}),
            ("join", {"due_s": lambda old: old - 1e-6}, {"joins"}),
            ("wait", {"ended_s": lambda old: old - 0.05}, {"steps_drawn", "joins"}),
            ("tool", {"began_s": lambda old: old - 0.02}, {"steps_drawn", "task_sums"}),
            ("call", {"kind": "wait"}, {"steps_drawn"}),
            ("call", {"step": "steps[3]"}, {"steps_drawn"}),
        ],
    )
    def test_a_step_that_is_not_as_drawn_or_out_of_order(self, folder, what, cells, expected):
        row = change(folder, "steps", kind(what), **cells)
        names, found = broken(folder)
        assert expected <= names
        assert not found.holds
        each = next(each for each in found.constraints if each.name in expected)
        assert f"{row['task_class']}/{row['task']}" in each.tasks

    def test_more_tools_than_cores(self, folder):
        """One that waited for cores says that it did not."""
        steps = Run.load(folder).steps
        waited = steps[(steps["kind"] == "tool") & (steps["began_s"] > steps["due_s"] + 1e-3)].iloc[0]

        def having(steps):
            return (steps["task"] == waited["task"]) & (steps["node"] == waited["node"]) & (steps["kind"] == "tool")

        change(folder, "steps", having, began_s=waited["due_s"])
        assert "tool_cores" in broken(folder)[0]

    def test_a_step_left_out(self, folder):
        rewrite(folder, "steps", lambda rows: rows.slice(1))
        assert "steps_drawn" in broken(folder)[0]

    def test_a_task_left_out_with_all_its_rows(self, folder):
        gone = Run.load(folder).tasks.query("task_class == 'support'")["task"].iloc[0]

        def without(rows):
            own = pa.compute.equal(rows.column("task_class"), "support").fill_null(False)
            return rows.filter(pa.compute.invert(pa.compute.and_(own, pa.compute.equal(rows.column("task"), gone))))

        for table in ("tasks", "steps", "requests"):
            for part in range(len(part_files(folder, table))):
                rewrite(folder, table, without, part)
        assert "tasks_all_there" in broken(folder)[0]

    @pytest.mark.parametrize(
        "column",
        ["calls", "prompt_tokens", "generated_tokens", "wrong", "tools", "tool_s", "tool_wait_s"],
    )
    def test_a_count_that_its_rows_do_not_add_up_to(self, folder, column):
        change(folder, "tasks", lambda tasks: tasks["calls"] > 1, **{column: lambda old: old + 1})
        assert broken(folder)[0] == {"task_sums"}

    @pytest.mark.parametrize("column", ["attributed_cost_usd", "wasted_cost_usd"])
    def test_a_cost_that_its_requests_do_not_add_up_to(self, folder, column):
        change(folder, "tasks", lambda tasks: tasks["calls"] > 1, **{column: lambda old: old * 1.001 + 1e-6})
        assert broken(folder)[0] == {"task_sums"}

    def test_a_promise_that_its_times_belie(self, folder):
        change(folder, "tasks", lambda tasks: tasks["outcome"] == "timed_out", promise_kept=True)
        assert broken(folder)[0] == {"task_promises"}

    def test_an_outcome_that_the_summary_does_not_count(self, folder):
        change(folder, "tasks", lambda tasks: tasks["outcome"] == "failed", outcome="timed_out")
        assert broken(folder)[0] == {"tasks_all_there"}

    def test_a_request_too_many(self, folder):
        """Of a call that was sent as often as its class allows, the last is sent once more."""
        run = Run.load(folder)
        last = run.requests[(run.requests["class"] == "research") & (run.requests["attempt"] == 2)].iloc[0]
        other = run.requests[(run.requests["class"] == "chat")].iloc[-1]
        cells = {name: last[name] for name in ("task_class", "task", "step", "node")}
        change(
            folder,
            "requests",
            lambda requests: requests["request_id"] == other["request_id"],
            **cells,
            attempt=3,
            arrived_s=float(last["finished_s"] + 1.0),
        )
        names, _ = broken(folder)
        assert {"retry_budget", "task_sums"} <= names

    @pytest.mark.parametrize(
        ("having", "cells"),
        [
            (lambda requests: requests["attempt"] == 1, {"attempt": 2}),
            (lambda requests: requests["attempt"] == 1, {"arrived_s": lambda old: old - 0.1}),
            (lambda requests: requests["class"] == "guard", {"arrived_s": lambda old: old - 0.1}),
            (lambda requests: (requests["answer"] == "bad") & (requests["attempt"] == 0), {"answer": "good"}),
        ],
    )
    def test_a_request_without_a_reason(self, folder, having, cells):
        change(folder, "requests", having, **cells)
        assert "tries" in broken(folder)[0]


class TestWhatCannotBeProven:
    def test_without_the_steps(self, folder):
        shutil.rmtree(folder / "steps")
        assert set(states(audit(Run.load(folder))).values()) == {"unproven"}

    def test_of_a_sample_only_of_its_tasks(self, tmp_path):
        simulate(mixed(recording={"evidence": "sampled", "share": 0.4}), out=tmp_path / "run")
        found = audit(Run.load(tmp_path / "run"))
        assert found.holds, found
        assert states(found) == dict.fromkeys(NAMES - {"tasks_all_there"}, "sampled") | {"tasks_all_there": "unproven"}
        assert next(each.state for each in found.constraints if each.name == "in_sample") == "proven"

    def test_where_evidence_was_off(self, tmp_path):
        simulate(mixed(recording={"evidence": "off"}), out=tmp_path / "run")
        assert set(states(audit(Run.load(tmp_path / "run"))).values()) == {"unproven"}


def holds(described):
    done = run(described)
    assert "tasks" not in done.tables or "requests" not in done.tables or proven(done)


_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@settings(max_examples=15, suppress_health_check=_SLOW)
@given(worlds(followed_up=True))
def test_any_run_of_any_graphs_holds(described):
    holds(described)


@pytest.mark.long
@settings(max_examples=1000, suppress_health_check=_SLOW)
@given(worlds(followed_up=True))
def test_many_runs_of_any_graphs_hold(described):
    holds(described)
