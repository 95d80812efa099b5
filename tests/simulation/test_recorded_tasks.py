"""Tasks of traces are played: the same calls and tools as recorded, each when what it needs is done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from oracle.small import chip, pool, run, scenario, work
from oracle.task_worlds import proven
from simulation.test_tasks import check, nodes_of

from inferencesim.errors import InputError
from inferencesim.kernel.graph_tables import CALL, TOOL, WAIT
from inferencesim.scenario.loading import load_scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.workload.graphs import unroll
from inferencesim.workload.load import generate_load

BOXES = [{"name": "boxes", "hardware": chip("small-cpu"), "nodes": 1, "cores": 1}]


def request(session, start_ms, end_ms, prompt=32, output=5, hashes=(), model="m", parent=None, size=16):
    replay = {"trace_block_size": size, "input_sequence_hashes": list(hashes)}
    said = {
        "model": model, "input_tokens": prompt, "output_tokens": output, "request_received_ms": start_ms,
        "total_time_ms": end_ms - start_ms, "replay": replay,
    }  # fmt: skip
    return event("request_end", session, parent, request=said)


def tool(session, start_ms, end_ms, name="bash"):
    said = {"tool_call_id": name, "tool_class": name, "started_at_unix_ms": start_ms, "ended_at_unix_ms": end_ms}
    return event("tool_end", session, tool=said)


def event(kind, session, parent=None, **said):
    context = {"session_id": session} | ({"parent_session_id": parent} if parent else {})
    return {"event": {"schema": "dynamo.request.trace.v1", "event_type": kind, "agent_context": context, **said}}


#: A call, two tools side by side, a call; half a second of thinking before each.
AGENT = [
    request("a", 0, 1000),
    tool("a", 1500, 2500, "bash"),
    tool("a", 1500, 2250, "read"),
    request("a", 3000, 4000, prompt=64),
]


@pytest.fixture
def replay(tmp_path):
    """Return what plays events as tasks of class ``t``."""

    def play(*events, workload=None, pools_of_tools=(), pools=None, horizon=20.0, times="recorded", drain=60.0, **said):
        path = tmp_path / "events.jsonl"
        path.write_text("".join(each if isinstance(each, str) else json.dumps(each) + "\n" for each in events))
        arrivals = {"process": "trace", "file": str(path), "times": times, **said.pop("arrivals", {})}
        task = {"name": "t", "arrivals": arrivals, "calls": "c", **said}
        done = run(
            scenario(
                list(pools or [pool()]),
                workload or [called()],
                tasks=[task],
                tools=list(pools_of_tools),
                horizon=horizon,
                drain=drain,
            )
        )
        assert "tasks" not in done.tables or proven(done)
        return done

    return play


def called(name="c", **said):
    return {"name": name, "arrivals": {"process": "tasks"}, "models": ["small-model"], **said}


def steps_of(done):
    return done.frame("steps").sort_values(["task", "node"]).reset_index(drop=True)


class TestRecordedTimes:
    def test_thinking_and_tools_take_their_time_and_calls_what_the_fleet_takes(self, replay):
        done = replay(*AGENT)
        (took,) = done.frame("tasks")["task_latency_s"]
        assert took == pytest.approx(done.requests["e2e_s"].sum() + 0.5 + 1.0 + 0.5)
        assert done.frame("tasks")["tools"].tolist() == [0]
        check(done)

    def test_calls_have_the_tokens_of_the_trace(self, replay):
        done = replay(*AGENT, workload=[called(prompt_tokens=999, output_tokens=999)])
        assert done.requests["prompt_tokens"].tolist() == [32, 64]
        assert done.requests["generated_tokens"].tolist() == [5, 5]
        assert done.frame("tasks")["prompt_tokens"].tolist() == [96]
        assert steps_of(done)["step"].tolist().count("call m") == 2

    def test_tools_that_are_named_run_on_cores_and_wait_for_them(self, replay):
        done = replay(*AGENT, pools_of_tools=BOXES, tools={"*": "boxes", "read": None})
        assert (nodes_of(done)["kind"] == TOOL).sum() == 1
        assert done.frame("tasks")["tool_s"].tolist() == pytest.approx([1.0])
        done = replay(*AGENT, pools_of_tools=BOXES, tools={"*": "boxes"})
        # Both are due at once; the one that ended first stands first, for three quarters of a second.
        assert done.frame("tasks")["tool_wait_s"].tolist() == pytest.approx([0.75])
        check(done)

    def test_subagents_go_their_own_ways_until_their_parent_goes_on(self, replay):
        events = [
            request("root", 0, 1000),
            tool("root", 1000, 9000, "subagent"),
            request("one", 1100, 2000, output=60, parent="root"),
            request("one", 2500, 3000, parent="root"),
            request("two", 1200, 2100, parent="root"),
            request("two", 2600, 8900, parent="root"),
            request("root", 9100, 9500),
        ]
        done = replay(*events)
        calls = steps_of(done).query("kind == 'call'").reset_index(drop=True)
        due, ended = calls["due_s"], calls["ended_s"]
        assert due[2] == pytest.approx(ended[1] + 0.5)
        assert due[4] == pytest.approx(ended[3] + 0.5)
        # The parent went on 0.2 s after the last of them.
        assert due[5] == pytest.approx(max(ended[2], ended[4]) + 0.2)
        assert done.frame("tasks")["fan_out"].tolist() == [2]
        check(done)

    def test_a_call_that_is_turned_away_fails_its_task(self, replay):
        done = replay(*AGENT, pools=[pool(kv_blocks=2, batching={"block_size": 4})])
        assert done.frame("tasks")["outcome"].tolist() == ["failed"]
        check(done)


def test_as_started_every_call_comes_when_it_was_recorded(replay):
    done = replay(*AGENT, times="started", arrivals={"rate_scale": 2.0})
    assert done.requests["arrived_s"].tolist() == [0.0, 3.0]
    assert (nodes_of(done)["kind"] == WAIT).sum() >= 3
    check(done)


class TestArrivals:
    SESSIONS = (request("a", 0, 100), request("b", 4000, 4100), request("c", 9000, 9100))

    def test_tasks_come_as_recorded_and_faster_by_the_scale(self, replay):
        assert replay(*self.SESSIONS).frame("tasks")["arrived_s"].tolist() == [0.0, 4.0, 9.0]
        scaled = replay(*self.SESSIONS, arrivals={"rate_scale": 4.0}, horizon=2.0)
        assert scaled.frame("tasks")["arrived_s"].tolist() == [0.0, 1.0]

    def test_a_window_is_moved_to_where_the_class_is_active(self, replay):
        moved = replay(*self.SESSIONS, arrivals={"window": {"from": 3.0, "length": 5.0}}, active={"from": 10.0})
        assert moved.frame("tasks")["arrived_s"].tolist() == [11.0]

    def test_a_task_that_takes_too_long_times_out(self, replay):
        done = replay(*AGENT, timeout=1.0)
        assert done.frame("tasks")["outcome"].tolist() == ["timed_out"]
        check(done)


class TestPrefixes:
    CACHED = (pool(prefix_cache=True, batching={"block_size": 16}),)

    def test_equal_hashes_are_found_again_also_in_another_task(self, replay):
        events = [
            request("a", 0, 100, prompt=64, hashes=[1, 2, 3, 4]),
            request("a", 1000, 1100, prompt=96, hashes=[1, 2, 3, 4, 5, 6]),
            request("b", 9000, 9100, prompt=64, hashes=[1, 2, 8, 9]),
        ]
        done = replay(*events, pools=self.CACHED)
        assert done.requests["cached_tokens"].tolist() == [0, 64, 32]

    def test_chains_of_tasks_stand_beside_those_of_requests(self, tmp_path, replay):
        rows = [{"timestamp": at, "input_length": 1024, "output_length": 4, "hash_ids": [1, 2]} for at in (0, 5000)]
        path = tmp_path / "requests.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        alone = {"name": "x", "arrivals": {"process": "trace", "file": str(path)}, "models": ["small-model"]}
        events = [request("a", 0, 100, prompt=1000, hashes=[1, 2]), request("a", 3000, 3100, prompt=64, hashes=[1, 2])]
        done = replay(*events, pools=self.CACHED, workload=[alone, called()])
        found = done.requests.groupby("class")["cached_tokens"].agg(list)
        assert found["c"] == [0, 32]
        # At least one token of a prompt is always computed.
        assert found["x"] == [0, 1008]

    def test_one_class_has_blocks_of_one_size(self, tmp_path):
        paths = []
        for size in (16, 32):
            paths.append(tmp_path / f"{size}.jsonl")
            paths[-1].write_text(json.dumps(request("a", 0, 100, hashes=[1], size=size)) + "\n")
        tasks = [
            {"name": f"t{number}", "arrivals": {"process": "trace", "file": str(path)}, "calls": "c"}
            for number, path in enumerate(paths)
        ]
        with pytest.raises(InputError, match="blocks of 16 and of 32 tokens"):
            run(scenario([pool()], [called()], tasks=tasks))

    def test_without_hashes_a_session_builds_on_what_was_said(self, tmp_path):
        path = tmp_path / "rounds.csv"
        path.write_text(
            "session_id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n"
            "0,0,0,160,16,100\n0,1,160,160,16,100\n0,2,64,160,16,100\n0,3,220,16,16,0\n"
        )
        task = {"name": "t", "arrivals": {"process": "trace", "file": str(path)}, "calls": "c"}
        done = run(scenario(list(self.CACHED), [called()], tasks=[task], drain=60.0))
        assert done.requests["prompt_tokens"].tolist() == [160, 320, 224, 236]
        # All that was said, where it went on; the first 64 tokens, where it branched off; then all of that branch.
        assert done.requests["cached_tokens"].tolist() == [0, 160, 64, 224]
        check(done)


class TestClasses:
    def test_calls_have_the_class_of_their_model(self, replay):
        events = [request("a", 0, 100, model="large"), request("a", 200, 300, model="small")]
        done = replay(*events, workload=[called("c"), called("d")], calls={"large": "c", "*": "d"})
        assert done.requests["class"].tolist() == ["c", "d"]

    def test_a_model_without_a_class_is_refused_by_name(self, replay):
        with pytest.raises(InputError, match="calls of 'm', of which no class is named"):
            replay(*AGENT, calls={"large": "c"})

    def test_a_prefill_is_all_of_a_class_that_does_not_generate(self, tmp_path):
        assert unrolled(tmp_path, called(kind="embedding"))["output_tokens"].tolist() == [1, 1]

    def test_a_class_of_which_a_trace_says_too_little_is_refused(self, tmp_path):
        seeing = called(kind="vision", images=1, tokens_per_image=5, prompt_tokens=5, output_tokens=5)
        with pytest.raises(InputError, match="class 'c' is of kind 'vision'"):
            unrolled(tmp_path, seeing)

    def test_answers_are_judged_as_those_of_the_class(self, tmp_path):
        calls = unrolled(tmp_path, called(answers={"difficulty": 0.7}, length_prediction={"sigma": 0.0, "bias": 2.0}))
        assert calls["difficulty"].tolist() == [0.7, 0.7]
        assert calls["predicted_tokens"].tolist() == [10.0, 10.0]


def unrolled(folder, of_class):
    """Return the calls of ``AGENT`` as those of a class."""
    path = folder / "events.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in AGENT))
    task = {"name": "t", "arrivals": {"process": "trace", "file": str(path)}, "calls": "c"}
    described = scenario([pool()], [of_class], tasks=[task])
    nodes = unroll(described, generate_load(described.workload, 2.0, 0, Path()))[0].nodes
    return nodes[nodes["kind"] == CALL]


def refused(match, task=None, workload=None):
    described = {"name": "t", "arrivals": {"process": "trace", "file": "x"}, "calls": "c"} | (task or {})
    with pytest.raises(ValueError, match=match):
        scenario([pool()], workload or [called()], tasks=[described])


class TestWhatIsRefused:
    def test_steps_beside_a_trace(self):
        refused("a trace brings its own steps.*remove steps", {"steps": [{"call": "c"}]})

    def test_a_trace_without_a_class(self):
        refused("calls is missing", {"calls": None})

    def test_classes_and_tools_that_are_not_there(self):
        refused(r"tasks\[0\].calls.large: no class 'd'", {"calls": {"large": "d", "*": "c"}})
        refused(r"tasks\[0\].tools.bash: no tools are called 'boxs'", {"tools": {"bash": "boxs"}})

    def test_what_only_a_trace_has_beside_steps(self):
        drawn = {"arrivals": {"process": "poisson", "rate": 1.0}, "steps": [{"call": "c"}]}
        refused("calls is of tasks from a trace", drawn, [work() | {"arrivals": {"process": "tasks"}}])

    def test_a_drawn_step_needs_a_class_with_lengths(self):
        task = {"name": "t", "arrivals": {"process": "poisson", "rate": 1.0}, "steps": [{"call": "c"}]}
        with pytest.raises(ValueError, match="nothing says what is in requests of 'c'"):
            scenario([pool()], [called()], tasks=[task])

    def test_times_that_a_format_does_not_have(self, tmp_path):
        path = tmp_path / "agents.jsonl"
        row = {"session_id": "a", "turn": 0, "epoch_ms": 0, "input_length": 9, "output_length": 9, "block_size": 64}
        path.write_text(json.dumps(row | {"hash_ids": []}) + "\n")
        task = {"name": "t", "arrivals": {"process": "trace", "file": str(path)}, "calls": "c"}
        with pytest.raises(InputError, match="does not tell the ends of its calls"):
            run(scenario([pool()], [called()], tasks=[task]))
        task["arrivals"]["times"] = "started"
        assert len(run(scenario([pool()], [called()], tasks=[task])).requests) == 1


def test_malformed_rows_are_reported_and_fatal_when_strict(replay):
    done = replay(*AGENT, "{}\n")
    assert [row.line for row in done.result.malformed] == [5]
    with pytest.raises(InputError, match="not an event"):
        Simulation(done.plan, None, strict=True)


def test_the_file_is_looked_for_beside_the_scenario(tmp_path):
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in AGENT))
    task = {"name": "t", "arrivals": {"process": "trace", "file": "events.jsonl"}, "calls": "c"}
    described = {"name": "test", "horizon": 1.0, "pools": [pool()], "workload": [called()], "tasks": [task]}
    path = tmp_path / "scenario.yaml"
    path.write_text(json.dumps(described))
    assert load_scenario(str(path)).tasks[0].arrivals.file == str(tmp_path / "events.jsonl")


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("otel_samples/multi_agent_research.json", "recorded"),
        ("otel_samples/software_architecture_review.json", "recorded"),
        ("tracelab/sanitized_round_trace.jsonl", "recorded"),
        ("tracelab/sanitized_round_trace.jsonl", "started"),
        ("ragpulse/0_trace.jsonl", "started"),
    ],
)
def test_shared_workflows_are_played_whole(shared_trace, name, times):
    path = shared_trace(name)
    task = {"name": "t", "arrivals": {"process": "trace", "file": str(path), "times": times}, "calls": "c"}
    done = run(scenario([pool(replicas=4)], [called()], tasks=[task], horizon=60.0, drain=600.0))
    calls = nodes_of(done)[nodes_of(done)["kind"] == CALL]
    np.testing.assert_array_equal(np.sort(done.requests["prompt_tokens"]), np.sort(calls["prompt_tokens"]))
    assert (done.requests["outcome"] == "completed").all()
    check(done)
