"""Weka traces (callanjfox/kv-cache-tester, Apache-2.0) as tasks: one recorded session of a coding agent per line.

The fields are those of :mod:`inferencesim.workload.traces.weka`, which reads the
same files as single requests, and as there a session begins every minute. A
session is a task: its requests one after another, each ending `api_time` after
its `t`; where that is missing, `think_time` before the next request. Times
``t`` are rounded to a second, so that a request may seem to begin up to a second
before the last one ended, which then is taken to have ended there. A subagent
is a group of its own beside the requests of the main agent: its entry stands
where it ended, the times inside count from its start.
"""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.workload.task_traces.spans import Span, Tasks
from inferencesim.workload.traces.rows import lines_of, whole_number
from inferencesim.workload.traces.weka import MOST_IDS, SESSION_GAP_S, WekaReader

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.task_traces.spans import TaskTrace
    from inferencesim.workload.traces.record import ReadOptions

#: The step in which ``t`` counts.
_ROUNDED_S = 1.0


class WekaTaskReader:
    """Reads JSONL of sessions, also packed; calls have the names of their agents (``main``, or a type) and models."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line begins as a session does."""
        return WekaReader().sniff(path)

    def read(self, path: Path, options: ReadOptions) -> TaskTrace:
        """Read the file; see :func:`inferencesim.workload.task_traces.reading.read_tasks`."""
        tasks = Tasks(path, options)
        sessions = _Sessions(tasks)
        for line, text in lines_of(path):
            if sessions.count * SESSION_GAP_S >= options.end_s:
                break
            sessions.take(line, text)
        notes = [f"sessions have no common clock: one begins every {SESSION_GAP_S:g} s, in the file's order"]
        return tasks.trace("weka", block_size=sessions.block_size, notes=notes)


class _Sessions:
    """The sessions of a file on one clock, and their hash ids in one numbering."""

    def __init__(self, tasks: Tasks) -> None:
        self.block_size: int | None = None
        self.count = 0
        self._tasks = tasks
        self._next_id = 0

    def take(self, line: int, text: str) -> None:
        """Take the session on a line, or count the line as malformed."""
        start_s = self.count * SESSION_GAP_S
        self.count += 1
        try:
            session = json.loads(text)
            size, first_id = whole_number(session["block_size"]), self._next_id
            if session["hash_id_scope"] != "local":
                first_id = 0
            self.block_size = self.block_size or size
            if size != self.block_size or size < 1:
                self._tasks.reject(line, f"blocks of {size} tokens, where those before have {self.block_size}")
                return
            self._tasks.add(self._agent(line, session["requests"], start_s, "main", first_id))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as problem:
            what = f"not a session with id, block_size and requests ({problem})"
            self._tasks.reject(line, f"{what}: {text.strip()[:80]!r}")

    def _agent(self, line: int, requests: list[dict[str, Any]], start_s: float, agent: str, first_id: int) -> Span:
        """Return what an agent did from `start_s` on."""
        group = Span("group", start_s, start_s, agent=agent)
        latest: Span | None = None
        unknown_end = False
        for row in requests:
            if row["type"] == "subagent":
                # One that was launched and not waited for has no duration; its entry stands at its start.
                end_s = start_s + float(row["t"])
                began_s = max(start_s, end_s - float(row["duration_ms"] or 0.0) / 1000.0)
                inside = self._agent(line, row["requests"], began_s, str(row["subagent_type"]), first_id)
                inside.end_s = max(end_s, began_s) if row["duration_ms"] is not None else inside.end_s
                group.children.append(inside)
                continue
            span = self._call(row, start_s, agent, first_id)
            if latest is not None:
                if unknown_end and row.get("think_time") is not None:
                    latest.end_s = max(latest.start_s, span.start_s - float(row["think_time"]))
                if span.start_s < latest.end_s <= span.start_s + _ROUNDED_S:
                    latest.end_s = span.start_s
            unknown_end = row.get("api_time") is None
            latest = span
            if self._tasks.is_call(line, span.prompt_tokens, span.output_tokens):
                group.children.append(span)
        group.end_s = max((child.end_s for child in group.children), default=start_s)
        return group

    def _call(self, row: dict[str, Any], start_s: float, agent: str, first_id: int) -> Span:
        at_s = start_s + float(row["t"])
        span = Span("call", at_s, at_s + float(row.get("api_time") or 0.0), agent=agent, model=str(row["model"]))
        span.prompt_tokens, span.output_tokens = whole_number(row["in"]), whole_number(row["out"])
        ids = np.array(array("q", row["hash_ids"]))  # refuses what is no whole number
        beyond = ids.size > -(-span.prompt_tokens // (self.block_size or 1))
        if beyond or np.any((ids < 0) | (ids >= MOST_IDS)) or not start_s <= span.start_s <= span.end_s:
            msg = f"a request at {row['t']} s has times or hash_ids that none can have"
            raise ValueError(msg)
        span.blocks = array("q", (first_id + ids).tobytes())
        self._next_id = max(self._next_id, first_id + int(ids.max(initial=-1)) + 1)
        return span
