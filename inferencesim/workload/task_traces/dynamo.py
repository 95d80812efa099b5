"""Request traces of Dynamo (ai-dynamo/dynamo, Apache-2.0; schema ``dynamo.request.trace.v1``): one event per line.

An event ``request_end`` has the tokens of a request, when it came and how long
it took, and the hashes of its prompt's blocks; ``tool_end`` and ``tool_error``
say from when to when a tool ran. Events belong to sessions, and sessions to
those that began them: a session without a parent is a task, and one begun while
a tool of its parent ran belongs to that tool, the shortest if there are several.
"""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING, Any

from inferencesim.workload.task_traces.spans import Span, Tasks
from inferencesim.workload.traces.record import Texts
from inferencesim.workload.traces.rows import first_line, lines_of, whole_number

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.task_traces.spans import TaskTrace
    from inferencesim.workload.traces.record import ReadOptions

_SCHEMA = "dynamo.request.trace.v1"


class DynamoReader:
    """Reads JSONL of events, also packed; calls have the names of their models, tools their classes."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line is an event of this schema."""
        return path.is_file() and _SCHEMA in first_line(path)

    def read(self, path: Path, options: ReadOptions) -> TaskTrace:
        """Read the file; see :func:`inferencesim.workload.task_traces.reading.read_tasks`."""
        tasks = Tasks(path, options)
        events = _Events(tasks)
        for line, text in lines_of(path):
            events.take(line, text)
        for root in events.trees():
            tasks.add(root)
        return tasks.trace("dynamo", block_size=events.block_size)


class _Events:
    """The calls and tools of a file by session."""

    def __init__(self, tasks: Tasks) -> None:
        self.block_size: int | None = None
        self._tasks = tasks
        self._sessions: dict[str, list[Span]] = {}
        self._parents: dict[str, str] = {}
        self._open: dict[str, tuple[int, str]] = {}
        self._hashes = Texts()

    def take(self, line: int, text: str) -> None:
        """Take the event on a line, or count the line as malformed."""
        try:
            event = json.loads(text)["event"]
            context, kind = event["agent_context"], event["event_type"]
            session, parent = str(context["session_id"]), context.get("parent_session_id")
            if kind == "request_end":
                span = self._call(line, event["request"])
            elif kind in ("tool_end", "tool_error"):
                self._open.pop(str(event["tool"]["tool_call_id"]), None)
                span = _tool(event["tool"])
            else:
                span = None
                if kind == "tool_start":
                    self._open[str(event["tool"]["tool_call_id"])] = line, str(event["tool"]["tool_class"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            self._tasks.reject(line, f"not an event of {_SCHEMA}: {text.strip()[:80]!r}")
            return
        if span is None:
            return
        if span.end_s < span.start_s:
            self._tasks.reject(line, f"it ends {span.start_s - span.end_s:g} s before it starts")
            return
        self._sessions.setdefault(session, []).append(span)
        if parent is not None and parent != session:
            self._parents[session] = str(parent)

    def _call(self, line: int, request: dict[str, Any]) -> Span | None:
        prompt, output = whole_number(request["input_tokens"]), whole_number(request["output_tokens"])
        start_s = float(request["request_received_ms"]) / 1000.0
        span = Span("call", start_s, start_s + float(request["total_time_ms"]) / 1000.0, model=str(request["model"]))
        span.prompt_tokens, span.output_tokens = prompt, output
        replay = request.get("replay")
        if replay is not None:
            size = whole_number(replay["trace_block_size"])
            # Hashes have 64 bits without a sign: they are numbered in the order in which they come.
            span.blocks = array("q", [self._hashes.code(str(each)) for each in replay["input_sequence_hashes"]])
            self.block_size = self.block_size or size
            if size != self.block_size or size < 1 or len(span.blocks) > -(-prompt // size):
                self._tasks.reject(line, f"{len(span.blocks)} blocks of {size} tokens for a prompt of {prompt}")
                return None
        return span if self._tasks.is_call(line, prompt, output) else None

    def trees(self) -> list[Span]:
        """Return the tasks: sessions without a parent, with all that they began."""
        for line, name in self._open.values():
            self._tasks.reject(line, f"the tool {name!r} never ended")
        zero_s = min((span.start_s for spans in self._sessions.values() for span in spans), default=0.0)
        groups, tools = {}, {}
        for name, spans in self._sessions.items():
            for span in spans:
                span.start_s -= zero_s
                span.end_s -= zero_s
            first_s, last_s = min(span.start_s for span in spans), max(span.end_s for span in spans)
            tools[name] = [span for span in spans if span.kind == "tool"]
            groups[name] = Span("group", first_s, last_s, name=name, children=spans)
        roots = []
        for name, group in groups.items():
            parent = groups.get(self._parents.get(name, ""))
            if parent is None or self._is_circular(name):
                roots.append(group)
            else:
                _place_inside(parent, tools[self._parents[name]], group)
        return roots

    def _is_circular(self, name: str) -> bool:
        above = {name}
        while (name := self._parents.get(name, "")) and name not in above:
            above.add(name)
        return bool(name)


def _tool(tool: dict[str, Any]) -> Span:
    start_s, end_s = float(tool["started_at_unix_ms"]) / 1000.0, float(tool["ended_at_unix_ms"]) / 1000.0
    return Span("tool", start_s, end_s, name=str(tool["tool_class"]))


def _place_inside(parent: Span, tools: list[Span], session: Span) -> None:
    """Put a session into the tool of its parent that began it, which then is no more than that; or beside its tools."""
    around = [tool for tool in tools if tool.start_s <= session.start_s and session.end_s <= tool.end_s]
    if not around:
        parent.children.append(session)
        return
    tool = min(around, key=lambda tool: tool.end_s - tool.start_s)
    tool.kind = "group"
    tool.children.append(session)
