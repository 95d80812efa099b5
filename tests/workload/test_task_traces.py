"""Traces of tasks: what is read from each format, and what waits for what."""

from __future__ import annotations

import json
import lzma

import pytest

from inferencesim.errors import InputError
from inferencesim.workload.task_traces.order import as_started, depth, in_dependence, width
from inferencesim.workload.task_traces.reading import TASK_READERS, read_tasks
from inferencesim.workload.task_traces.spans import Span
from inferencesim.workload.traces.weka import SESSION_GAP_S


def call(start_s, end_s, prompt=10, output=5, **said):
    return Span("call", start_s, end_s, prompt_tokens=prompt, output_tokens=output, **said)


def group(*children, start_s=None, end_s=None):
    start_s = min(child.start_s for child in children) if start_s is None else start_s
    end_s = max(child.end_s for child in children) if end_s is None else end_s
    return Span("group", start_s, end_s, children=list(children))


def ends_if_as_recorded(root):
    """Return when each step of a task ends, if each call and tool takes as long as it did; its last is the task's."""
    ends = []
    for step in in_dependence(root):
        start_s = max((ends[before] for before in step.after), default=root.start_s) + step.lag_s
        ends.append(start_s + (step.span.end_s - step.span.start_s if step.span else 0.0))
        if step.span is not None:
            assert start_s == pytest.approx(step.span.start_s, abs=1e-6)
    return ends


class TestOrder:
    def after(self, root):
        return [step.after for step in in_dependence(root)]

    def test_what_began_after_an_end_waits_for_it_and_then_for_the_gap(self):
        steps = in_dependence(group(call(0, 2), call(2.5, 4)))
        assert [step.after for step in steps] == [(), (0,), (1,)]
        assert [step.lag_s for step in steps] == [0.0, 0.5, 0.0]

    def test_a_fan_out_waits_for_one_and_its_join_for_all(self):
        root = group(call(0, 2), call(2.5, 4.5), call(3, 5), call(6, 9))
        assert self.after(root) == [(), (0,), (0,), (1, 2), (3,)]
        assert [step.lag_s for step in in_dependence(root)] == [0.0, 0.5, 1.0, 1.0, 0.0]
        assert width(in_dependence(root)) == 2
        assert depth(in_dependence(root)) == 3

    def test_threads_of_two_groups_do_not_wait_for_each_other(self):
        one, other = group(call(1, 2), call(4, 6)), group(call(1, 3), call(5, 7))
        flat = self.after(group(call(0, 1), *one.children, *other.children))
        nested = self.after(group(call(0, 1), one, other, call(8, 9)))
        assert nested == [(), (0,), (1,), (0,), (3,), (2, 4), (5,)]
        assert flat != nested[:-1]

    def test_who_comes_after_a_group_waits_for_its_last_children_and_for_its_rest(self):
        steps = in_dependence(group(group(call(0, 1), start_s=0, end_s=3), call(5, 6)))
        assert steps[1].after == (0,)
        assert steps[1].lag_s == 4.0

    def test_what_outlives_its_group_only_the_task_waits_for(self):
        launched = group(call(1, 2), call(1, 20), start_s=1, end_s=3)
        steps = in_dependence(group(launched, call(4, 5)))
        assert [step.after for step in steps] == [(), (), (0,), (1, 2)]

    def test_as_started_nothing_waits(self):
        root = group(call(10, 12), call(12.5, 14))
        assert [(step.after, step.lag_s) for step in as_started(root)] == [((), 0.0), ((), 2.5), ((0, 1), 0.0)]


def span(number, start, end, parent=None, operation="chat", trace="t", **said):
    attributes = {"gen_ai.operation.name": operation}
    if operation == "chat":
        attributes |= {"gen_ai.request.model": "big", "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}
    attributes |= {f"gen_ai.{name.replace('__', '.')}": value for name, value in said.items()}
    at = "2026-02-25T10:00:{:09.6f}".format
    return {
        "trace_id": trace, "span_id": number, "parent_span_id": parent, "name": number,
        "start_time": at(start), "end_time": at(end), "attributes": attributes,
    }  # fmt: skip


def exported(folder, *spans):
    path = folder / "trace.json"
    path.write_text(json.dumps({"trace_id": "t", "spans": spans}, indent=1))
    return path


class TestOtel:
    def test_each_trace_is_a_task_on_one_clock(self, tmp_path):
        trace = read_tasks(exported(tmp_path, span("a", 5, 6), span("b", 7, 8, trace="u"), span("c", 6.5, 7)))
        assert trace.format == "otel"
        assert [(root.start_s, root.end_s) for root in trace.tasks] == [(0.0, 2.0), (2.0, 3.0)]

    def test_an_agent_is_a_group_and_a_tool_takes_its_time(self, tmp_path):
        spans = [
            span("agent", 0, 9, operation="invoke_agent", agent__name="planner"),
            span("ask", 1, 2, "agent", agent__name="planner"),
            span("bash", 2, 5, "agent", operation="execute_tool", tool__name="Bash"),
            span("http", 1.5, 1.9, "ask", operation="other"),
        ]
        (root,) = read_tasks(exported(tmp_path, *spans)).tasks
        assert [(leaf.kind, leaf.name or leaf.agent) for leaf in root.leaves()] == [("call", "ask"), ("tool", "Bash")]
        assert next(root.calls()).agent == "planner"
        assert ends_if_as_recorded(root)[-1] == 9.0

    def test_a_call_or_a_tool_around_calls_is_a_group(self, tmp_path):
        spans = [span("proxy", 0, 3), span("inner", 1, 2, "proxy"), span("sub", 4, 9, operation="execute_tool")]
        (root,) = read_tasks(exported(tmp_path, *spans, span("deep", 5, 6, "sub"))).tasks
        assert [leaf.name for leaf in root.leaves()] == ["inner", "deep"]

    def test_a_child_that_began_when_its_parent_was_over_follows_it(self, tmp_path):
        (root,) = read_tasks(exported(tmp_path, span("one", 0, 2), span("two", 3, 4, "one"))).tasks
        assert [step.after for step in in_dependence(root)] == [(), (0,), (1,)]

    def test_old_names_of_tokens_and_nanoseconds_are_read(self, tmp_path):
        old = span("a", 0, 1, usage__prompt_tokens=70, usage__completion_tokens=7)
        for name in ("input", "output"):
            del old["attributes"][f"gen_ai.usage.{name}_tokens"]
        old |= {"start_time": 1_770_000_000_000_000_000, "end_time": "1770000002000000000"}
        (root,) = read_tasks(exported(tmp_path, old)).tasks
        (asked,) = root.calls()
        assert (asked.prompt_tokens, asked.output_tokens, asked.end_s) == (70, 7, 2.0)

    def test_tokens_that_are_not_recorded_are_counted_in_characters(self, tmp_path):
        text = span("a", 0, 1, input__messages=json.dumps([{"role": "user", "content": "x" * 41}]))
        text["attributes"]["gen_ai.output.text"] = "y" * 8
        for name in ("input", "output"):
            del text["attributes"][f"gen_ai.usage.{name}_tokens"]
        trace = read_tasks(exported(tmp_path, text))
        (asked,) = trace.tasks[0].calls()
        assert (asked.prompt_tokens, asked.output_tokens) == (11, 2)
        assert "2 counts of tokens are not recorded" in trace.notes[0]

    def test_equal_first_messages_are_shared(self, tmp_path):
        def said(*texts):
            return json.dumps([{"role": "user", "content": text} for text in texts])

        first = span("a", 0, 1, usage__input_tokens=40, input__messages=said("x" * 30))
        first["attributes"]["gen_ai.output.text"] = "y" * 10
        second = span("b", 2, 3, usage__input_tokens=80, input__messages=said("x" * 30, "y" * 10, "z" * 40))
        other = span("c", 4, 5, usage__input_tokens=500, input__messages=said("w"))
        (root,) = read_tasks(exported(tmp_path, first, second, other)).tasks
        one, two, three = root.calls()
        assert two.shares == (one, 40)
        assert three.shares is None

    def test_without_messages_a_longer_prompt_continues_and_a_shorter_one_does_not(self, tmp_path):
        spans = [
            span("a", 0, 1),
            span("b", 2, 4, usage__input_tokens=30),
            span("c", 3, 4, usage__input_tokens=31),
            span("d", 5, 6),
        ]
        (root,) = read_tasks(exported(tmp_path, *spans)).tasks
        one, two, three, four = root.calls()
        assert two.shares == (one, 15)
        assert three.shares == (one, 15)
        assert four.shares is None

    def test_what_makes_no_sense_is_counted_with_its_line(self, tmp_path):
        broken = span("b", 3, 2)
        path = exported(tmp_path, span("a", 0, 1), broken, span("c", 1, 2, usage__output_tokens=0))
        trace = read_tasks(path)
        (row,) = trace.malformed
        assert '"span_id": "b"' in path.read_text().splitlines()[row.line - 1]
        assert trace.failed == 1
        with pytest.raises(InputError, match="ends 1 s before it starts") as refused:
            read_tasks(path, strict=True)
        assert refused.value.where.endswith(f"line {row.line}")

    def test_one_document_per_line_is_read_too(self, tmp_path):
        path = tmp_path / "traces.jsonl"
        rows = [{"spans": [span("a", 0, 1, trace="t")]}, {"spans": [span("a", 2, 3, trace="u")]}]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
        trace = read_tasks(path)
        assert len(trace.tasks) == 2
        assert [row.line for row in trace.malformed] == [3]


def event(kind, session, parent=None, **said):
    context = {"session_id": session} | ({"parent_session_id": parent} if parent else {})
    return {"event": {"schema": "dynamo.request.trace.v1", "event_type": kind, "agent_context": context, **said}}


def answered(session, start_ms, end_ms, hashes=(), parent=None, prompt=32):
    request = {
        "model": "m", "input_tokens": prompt, "output_tokens": 4, "request_received_ms": start_ms,
        "total_time_ms": end_ms - start_ms, "replay": {"trace_block_size": 16, "input_sequence_hashes": list(hashes)},
    }  # fmt: skip
    return event("request_end", session, parent, request=request)


def used(session, name, start_ms, end_ms, kind="tool_end"):
    tool = {"tool_call_id": name, "tool_class": name, "started_at_unix_ms": start_ms, "ended_at_unix_ms": end_ms}
    return event(kind, session, tool=tool)


def lines(folder, *rows, name="events.jsonl"):
    path = folder / name
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


class TestDynamo:
    def test_a_session_begun_by_a_tool_stands_in_its_place(self, tmp_path):
        path = lines(
            tmp_path,
            answered("root", 1000, 2000, [2**64 - 1, 7]),
            answered("child", 2500, 3000, [2**64 - 1, 8], parent="root"),
            used("root", "subagent", 2010, 4000),
            used("root", "bash", 2010, 2020, kind="tool_error"),
            answered("root", 4100, 5000),
        )
        trace = read_tasks(path)
        assert trace.format == "dynamo"
        (root,) = trace.tasks
        assert [(leaf.kind, leaf.name) for leaf in root.leaves()].count(("tool", "subagent")) == 0
        steps = in_dependence(root)
        assert [step.span.name if step.span else "end" for step in steps] == ["", "bash", "", "", "end"]
        assert steps[2].after == (0,)
        assert steps[3].after == (1, 2)
        assert ends_if_as_recorded(root)[-1] == pytest.approx(4.0)
        first, second, _ = (list(each.blocks) for each in root.calls())
        assert first[0] == second[0] != first[1] != second[1]
        assert trace.block_size == 16

    def test_a_session_beside_all_tools_belongs_to_its_parent(self, tmp_path):
        path = lines(tmp_path, answered("root", 0, 1000), answered("child", 1500, 2500, parent="root"))
        (root,) = read_tasks(path).tasks
        assert [step.after for step in in_dependence(root)] == [(), (0,), (1,)]

    def test_a_tool_that_never_ended_and_a_broken_line_are_counted(self, tmp_path):
        started = event("tool_start", "root", tool={"tool_call_id": "x", "tool_class": "read"})
        trace = read_tasks(lines(tmp_path, answered("root", 0, 9), started, "{}\n", answered("root", 10, 11, [1] * 3)))
        assert sorted((row.line, row.reason.split(":")[0]) for row in trace.malformed) == [
            (2, "the tool 'read' never ended"),
            (3, "not an event of dynamo.request.trace.v1"),
            (4, "3 blocks of 16 tokens for a prompt of 32"),
        ]


def asked(t, prompt=640, ids=(), **said):
    return {"t": t, "type": "n", "model": "opus", "in": prompt, "out": 5, "hash_ids": list(ids), **said}


def session(*requests, **said):
    return {"id": "s", "block_size": 64, "hash_id_scope": "local", "requests": list(requests), **said}


class TestWeka:
    def test_a_call_ends_after_its_api_time_or_a_think_time_before_the_next(self, tmp_path):
        path = lines(tmp_path, session(asked(0, api_time=4.0), asked(10), asked(30, think_time=15.0, api_time=2.0)))
        trace = read_tasks(path)
        assert trace.format == "weka"
        (root,) = trace.tasks
        assert [(each.start_s, each.end_s) for each in root.calls()] == [(0, 4), (10, 15), (30, 32)]

    def test_rounded_times_do_not_make_calls_run_side_by_side(self, tmp_path):
        (root,) = read_tasks(lines(tmp_path, session(asked(0, api_time=10.4), asked(10, api_time=1.0)))).tasks
        assert [step.after for step in in_dependence(root)] == [(), (0,), (1,)]

    def test_a_subagent_is_a_group_that_the_next_call_waits_for(self, tmp_path):
        inner = [asked(0, api_time=2.0), asked(5, api_time=3.0)]
        sub = {"t": 20.0, "type": "subagent", "subagent_type": "Explore", "duration_ms": 15000, "requests": inner}
        main = [asked(0, api_time=4.0), asked(8, api_time=1.0), sub, asked(21, api_time=1.0)]
        (root,) = read_tasks(lines(tmp_path, session(*main))).tasks
        steps = in_dependence(root)
        by_start = {step.span.start_s: step for step in steps if step.span}
        assert sorted(by_start) == [0, 5, 8, 10, 21]
        assert by_start[5].after == (0,)
        assert {steps[before].span.start_s for before in by_start[21].after} == {8, 10}
        assert {each.agent for each in root.calls()} == {"main", "Explore"}

    def test_ids_are_of_their_session(self, tmp_path):
        path = lines(tmp_path, session(asked(0, ids=[0, 1])), session(asked(0, ids=[0, 1])), {"id": "x"})
        trace = read_tasks(path)
        ids = [list(each.blocks) for root in trace.tasks for each in root.calls()]
        assert not set(ids[0]) & set(ids[1])
        assert [root.start_s for root in trace.tasks] == [0.0, SESSION_GAP_S]
        assert [row.line for row in trace.malformed] == [3]

    def test_a_session_with_more_blocks_than_its_prompts_fill_is_left_out(self, tmp_path):
        trace = read_tasks(lines(tmp_path, session(asked(0)), session(asked(0, prompt=64, ids=[0, 1]))))
        assert [(row.line, "a request at 0 s has times or hash_ids" in row.reason) for row in trace.malformed] == [
            (2, True)
        ]

    def test_reading_stops_after_the_window(self, tmp_path):
        path = lines(tmp_path, session(asked(0)), session(asked(0)), "not read\n")
        assert len(read_tasks(path, strict=True, end_s=SESSION_GAP_S).tasks) == 1


class TestSessions:
    def test_lmcache_knows_starts_only(self, tmp_path):
        def row(name, at_ms, prompt=70):
            return {
                "session_id": name, "turn": 0, "epoch_ms": at_ms, "input_length": prompt, "output_length": 3,
                "block_size": 64, "hash_ids": [1],
            }  # fmt: skip

        trace = read_tasks(lines(tmp_path, row("a", 5000), row("b", 5500), row("a", 7000), row("a", 8000, prompt=0)))
        assert (trace.format, trace.times, trace.block_size) == ("lmcache", ("started",), 64)
        assert [[each.start_s for each in root.calls()] for root in trace.tasks] == [[0.0, 2.0], [0.5]]
        assert [row.line for row in trace.malformed] == [4]

    def test_tracelab_knows_waits_only(self, tmp_path):
        path = tmp_path / "rounds.csv"
        path.write_text(
            "session_id,arrival_time,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n"
            "0,500,0,0,100,20,300\n0,500,1,98,200,10,0\n0,500,2,64,50,10,700\n1,900,0,0,9,9,0\n1,900,1,x,9,9,0\n"
        )
        trace = read_tasks(path)
        assert (trace.format, trace.times) == ("tracelab", ("recorded",))
        first, second, third = trace.tasks[0].calls()
        assert [step.lag_s for step in in_dependence(trace.tasks[0])] == pytest.approx([0.0, 0.3, 0.0, 0.0])
        assert [each.prompt_tokens for each in (first, second, third)] == [100, 298, 114]
        assert second.shares == (first, 120)
        assert third.shares == (second, 64)
        assert trace.tasks[1].start_s == 0.9
        assert [row.line for row in trace.malformed] == [6]

    def test_without_arrival_times_a_session_begins_every_minute(self, tmp_path):
        path = tmp_path / "rounds.csv"
        rows = "0,0,0,9,9,0\n1,0,0,9,9,0\n"
        path.write_text("session_id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n" + rows)
        assert [root.start_s for root in read_tasks(path).tasks] == [0.0, SESSION_GAP_S]


def ragpulse_row(session, second):
    parts = {"sys_prompt": [1], "passages_ids": [], "history": [], "web_search": [], "user_input": [9]}
    sizes = {"input_length": 60, "output_length": 7}
    return {"timestamp": str(second), **sizes, "hash_ids": parts, "session_id": session}


def test_ragpulse_sessions_are_played_as_started(tmp_path):
    path = lines(tmp_path, ragpulse_row("b", 90), ragpulse_row("a", 30), ragpulse_row("a", 10), "\n", "{}\n")
    trace = read_tasks(path)
    assert (trace.format, trace.times) == ("ragpulse", ("started",))
    assert [[each.start_s for each in root.calls()] for root in trace.tasks] == [[10.0, 30.0], [90.0]]
    assert [row.line for row in trace.malformed] == [5]
    assert [note for note in trace.notes if "1_sys_prompt.jsonl" in note]
    assert len(next(iter(read_tasks(path, end_s=20.0).tasks)).children) == 2


MINUTE = "2026-06-01T05:40:{:06.3f}Z".format


def a_round(events, tools=(), prompt=1000, prefix=0, session="s"):
    return {
        "provider": "claude", "session_id": session, "round_index": 0, "model": "opus", "input_tokens_total": prompt,
        "prefix_tokens": prefix, "output_tokens": 50,
        "timing_events": [{"event_type": kind, "timestamp": MINUTE(at_s)} for kind, at_s in events],
        "tools": [
            {"tool_name": name, "emitted_at": MINUTE(start_s), "result_at": end_s and MINUTE(end_s)}
            for name, start_s, end_s in tools
        ],
    }  # fmt: skip


class TestRounds:
    def test_a_call_is_from_its_last_input_to_its_last_words_and_then_come_its_tools(self, tmp_path):
        path = lines(
            tmp_path,
            a_round([("user_message", 1), ("reasoning", 5), ("tool_call", 6), ("tool_call", 8), ("usage_report", 8.5)],
                    [("Bash", 6, 9), ("Read", 8, 12)]),
            a_round([("tool_result", 9), ("tool_result", 12), ("text", 20), ("tool_result", 25)],
                    prefix=980, prompt=1200),
            a_round([("user_message", 30), ("text", 33)], prompt=1300, prefix=500),
        )  # fmt: skip
        trace = read_tasks(path)
        assert (trace.format, trace.times) == ("tracelab_rounds", ("recorded", "started"))
        (root,) = trace.tasks
        spans = [(leaf.name or leaf.model, leaf.start_s, leaf.end_s) for leaf in root.leaves()]
        of_calls = [("opus", 0.0, 7.0), ("opus", 11.0, 19.0), ("opus", 29.0, 32.0)]
        assert sorted(spans) == sorted([*of_calls, ("Bash", 7.0, 8.0), ("Read", 7.0, 11.0)])
        assert ends_if_as_recorded(root)[-1] == pytest.approx(32.0)
        first, second, third = root.calls()
        assert (first.agent, first.prompt_tokens, first.output_tokens) == ("claude", 1000, 50)
        assert second.shares == (first, 1050)
        assert third.shares == (second, 500)

    def test_a_call_that_was_given_nothing_begins_with_its_first_words(self, tmp_path):
        (root,) = read_tasks(lines(tmp_path, a_round([("reasoning", 2), ("text", 3)]))).tasks
        assert [(leaf.start_s, leaf.end_s) for leaf in root.leaves()] == [(0.0, 1.0)]

    def test_no_prompt_begins_with_more_than_it_has(self, tmp_path):
        said = [("user_message", 1), ("text", 2)], [("user_message", 3), ("text", 4)]
        path = lines(tmp_path, a_round(said[0]), a_round(said[1], prompt=990, prefix=980))
        assert list(read_tasks(path).tasks[0].calls())[1].shares[1] == 990

    def test_what_makes_no_sense_is_counted_with_its_line(self, tmp_path):
        path = lines(
            tmp_path,
            a_round([("user_message", 1), ("tool_call", 2)], [("Bash", 2, None)]),
            a_round([]),
            a_round([("user_message", 1), ("text", 2)], prompt=0, session="empty"),
        )
        trace = read_tasks(path)
        assert [row.line for row in trace.malformed] == [1, 2, 3]
        assert "'Bash' never ended" in trace.malformed[0].reason
        assert [len(root.children) for root in trace.tasks] == [1]
        with pytest.raises(InputError, match="never ended"):
            read_tasks(path, strict=True)


class TestRefusals:
    def test_an_unknown_format_is_named(self, tmp_path):
        path = lines(tmp_path, "nothing known\n")
        with pytest.raises(InputError, match=r"no reader of tasks recognises.*'trace inspect'"):
            read_tasks(path)
        with pytest.raises(InputError, match="otel"):
            read_tasks(path, "otle")

    @pytest.mark.parametrize("name", TASK_READERS.names())
    def test_a_file_of_something_else_has_no_task(self, tmp_path, name):
        with pytest.raises(InputError):
            read_tasks(lines(tmp_path, "{}\n"), name)

    def test_a_window_without_tasks_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="no task begins in the window"):
            read_tasks(exported(tmp_path, span("a", 0, 1)), start_s=5.0)


#: Calls, prompt and output tokens as counted in the files by other means (jq, awk).
SHARED = [
    ("otel_samples", "prefix_sharing_example.json", 4, 7, 1065, 280),
    ("dynamo", "pi_request_trace.jsonl.gz", 2, 17, 66520, 8094),
    ("agent_traces", "lmcache_miniswe.jsonl", 20, 402, 3150342, 52731),
    ("tracelab", "session_workload_example.csv", 1, 11, 535277, 24798),
    ("tracelab", "sanitized_round_trace.jsonl", 2, 19, 514012, 11335),
    ("ragpulse", "0_trace.jsonl", 3990, 7106, 20917099, 2012676),
]


@pytest.mark.parametrize(("folder", "name", "tasks", "calls", "prompt", "output"), SHARED)
def test_shared_traces_are_read_whole(shared_trace, folder, name, tasks, calls, prompt, output):
    trace = read_tasks(shared_trace(f"{folder}/{name}"))
    every = [each for root in trace.tasks for each in root.calls()]
    assert (len(trace.tasks), len(every)) == (tasks, calls)
    assert not trace.malformed
    assert sum(each.prompt_tokens for each in every) == prompt
    assert sum(each.output_tokens for each in every) == output
    for root in trace.tasks:
        if "recorded" in trace.times:
            assert ends_if_as_recorded(root)[-1] == pytest.approx(root.end_s, abs=1e-6)


def test_shared_coding_agents_have_the_tokens_their_totals_say(shared_trace):
    path = shared_trace("coding_agents/kv_cache_tester_claude_code.jsonl.xz")
    trace = read_tasks(path, end_s=20 * SESSION_GAP_S)
    with lzma.open(path, "rt") as file:
        totals = [json.loads(next(file))["totals"]["combined_tokens"] for _ in range(20)]
    assert trace.failed == 0
    for root, total in zip(trace.tasks, totals, strict=True):
        assert sum(each.prompt_tokens for each in root.calls()) == total["input"]
        assert sum(each.output_tokens for each in root.calls()) == total["output"]
        assert ends_if_as_recorded(root)[-1] == pytest.approx(root.end_s, abs=1e-6)
