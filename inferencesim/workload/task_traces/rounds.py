"""Rounds of TraceLab (uw-syfi/TraceLab, data CC BY 4.0), as recorded by coding agents: one call per line, as JSON.

A round has ``session_id``, ``provider``, ``model``, ``input_tokens_total``,
``prefix_tokens``, ``output_tokens``, ``timing_events`` and ``tools``. Its call
begins with the last message or result it was given, and ends with the last it
wrote. A tool runs from ``emitted_at`` to ``result_at``. Agents begin a tool while
the call that asks for it still writes, which no simulated call does: here it
starts when the call has ended, and its result comes when it was recorded.

A session is a task; between its rounds it waits for tools and people. What
prompts share is told by ``prefix_tokens`` as in the replay files, see
:mod:`inferencesim.workload.task_traces.sessions`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from inferencesim.workload.task_traces.sessions import shared_with
from inferencesim.workload.task_traces.spans import Span, Tasks
from inferencesim.workload.traces.rows import begins_object_with, lines_of, whole_number

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.task_traces.spans import TaskTrace
    from inferencesim.workload.traces.record import ReadOptions

_FIELDS = ("session_id", "round_index", "input_tokens_total", "prefix_tokens", "timing_events")

#: Events before a call and those of it.
_GIVEN, _WRITTEN = ("user_message", "tool_result"), ("reasoning", "text", "tool_call")


class TraceLabRoundsReader:
    """Reads JSONL of rounds, also packed; calls have the names of their providers (as agents) and models."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line begins as a round does."""
        return begins_object_with(path, _FIELDS)

    def read(self, path: Path, options: ReadOptions) -> TaskTrace:
        """Read the file; see :func:`inferencesim.workload.task_traces.reading.read_tasks`."""
        tasks = Tasks(path, options)
        sessions: dict[str, Span] = {}
        for line, text in lines_of(path):
            _take(line, text, tasks, sessions)
        leaves = [leaf for root in sessions.values() for leaf in root.children]
        zero_s = min((leaf.start_s for leaf in leaves), default=0.0)
        for leaf in leaves:
            leaf.start_s -= zero_s
            leaf.end_s -= zero_s
        for root in sessions.values():
            root.start_s = root.end_s = min((leaf.start_s for leaf in root.children), default=0.0)
            tasks.add(root)
        return tasks.trace("tracelab_rounds")


def _take(line: int, text: str, tasks: Tasks, sessions: dict[str, Span]) -> None:
    """Add the call on a line and its tools to their session, or count the line as malformed."""
    try:
        row = json.loads(text)
        call, prefix = _call(row), whole_number(row["prefix_tokens"])
        session, tools = str(row["session_id"]), [(tool["tool_name"], tool) for tool in row["tools"]]
        spans = [_tool(str(name), tool, call.end_s) for name, tool in tools if tool.get("result_at") is not None]
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        tasks.reject(line, f"not a round with {', '.join(_FIELDS)} and tools: {text.strip()[:80]!r}")
        return
    for name, tool in tools:
        if tool.get("result_at") is None:
            tasks.reject(line, f"the tool {name!r} never ended")
    root = sessions.setdefault(session, Span("group", call.start_s, call.start_s, name=session))
    if tasks.is_call(line, call.prompt_tokens, call.output_tokens):
        before = [child for child in root.children if child.kind == "call"]
        if before:
            call.shares = shared_with(before[-1], prefix, call.prompt_tokens)
        root.children.append(call)
    root.children.extend(spans)


def _call(row: dict[str, Any]) -> Span:
    events = sorted((_moment_s(event["timestamp"]), event["event_type"]) for event in row["timing_events"])
    written = [at_s for at_s, kind in events if kind in _WRITTEN]
    end_s = written[-1] if written else events[-1][0]
    given = [at_s for at_s, kind in events if kind in _GIVEN and at_s <= (written or [end_s])[0]]
    call = Span("call", given[-1] if given else events[0][0], end_s)
    call.agent, call.model = str(row["provider"]), str(row["model"])
    call.prompt_tokens, call.output_tokens = whole_number(row["input_tokens_total"]), whole_number(row["output_tokens"])
    return call


def _tool(name: str, tool: dict[str, Any], earliest_s: float) -> Span:
    start_s = max(earliest_s, _moment_s(tool["emitted_at"]))
    return Span("tool", start_s, max(start_s, _moment_s(tool["result_at"])), name=name)


def _moment_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
