"""Traces of sessions, one call per row: of LMCache's agents, and TraceLab's replay files.

**lmcache** (LMCache/lmcache-agent-trace, Apache-2.0): JSONL with ``session_id``,
``turn``, ``epoch_ms``, ``input_length``, ``output_length``, ``block_size`` and
``hash_ids``. Calls have starts and no ends: gaps between starts hold the time
the recorded service took, so that such a trace can only be played as started.

**tracelab** (uw-syfi/TraceLab, data CC BY 4.0): CSV with ``session_id``,
``round_idx``, ``prefix_len``, ``input_len``, ``output_len``,
``tool_wait_after_ms`` and perhaps ``arrival_time`` (in milliseconds; without it,
sessions begin one per minute). It says how long each tool took and nothing of
calls, so that it can only be played with the waits as recorded. A prompt has
``prefix_len`` + ``input_len`` tokens. Its prefix was found in a cache, which
holds whole blocks: one that lacks less than a block of the last prompt is taken
to continue it, a shorter one to branch off there.
"""

from __future__ import annotations

import csv
import json
from array import array
from typing import TYPE_CHECKING

from inferencesim.errors import InputError
from inferencesim.workload.task_traces.spans import Span, Tasks
from inferencesim.workload.traces.record import place
from inferencesim.workload.traces.rows import (
    begins_object_with,
    column_names,
    first_line,
    lines_of,
    open_text,
    whole_number,
)
from inferencesim.workload.traces.weka import SESSION_GAP_S

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.task_traces.spans import TaskTrace
    from inferencesim.workload.traces.record import ReadOptions

#: Tokens of the largest cache blocks in common use.
_BLOCK = 64

_COLUMNS = ("session_id", "round_idx", "prefix_len", "input_len", "output_len", "tool_wait_after_ms")


class LMCacheReader:
    """Reads JSONL of calls that name their session and turn, also packed."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line is such a call."""
        return begins_object_with(path, ("session_id", "turn", "epoch_ms"))

    def read(self, path: Path, options: ReadOptions) -> TaskTrace:
        """Read the file; see :func:`inferencesim.workload.task_traces.reading.read_tasks`."""
        tasks = Tasks(path, options)
        sessions: dict[str, Span] = {}
        block_size: int | None = None
        for line, text in lines_of(path):
            try:
                row = json.loads(text)
                at_s = float(row["epoch_ms"]) / 1000.0
                span = Span("call", at_s, at_s)
                span.prompt_tokens = whole_number(row["input_length"])
                span.output_tokens = whole_number(row["output_length"])
                size = whole_number(row["block_size"])
                span.blocks = array("q", row["hash_ids"])
                session = str(row["session_id"])
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                tasks.reject(line, f"not a row with session_id, epoch_ms and lengths: {text.strip()[:80]!r}")
                continue
            block_size = block_size or size
            if size != block_size or size < 1 or len(span.blocks) > -(-span.prompt_tokens // size):
                tasks.reject(line, f"{len(span.blocks)} blocks of {size} tokens for {span.prompt_tokens}")
            elif tasks.is_call(line, span.prompt_tokens, span.output_tokens):
                sessions.setdefault(session, Span("group", at_s, at_s, name=session)).children.append(span)
        zero_s = min((call.start_s for root in sessions.values() for call in root.children), default=0.0)
        for root in sessions.values():
            for call in root.children:
                call.start_s = call.end_s = call.start_s - zero_s
            root.start_s = min(call.start_s for call in root.children)
            root.end_s = root.start_s
            tasks.add(root)
        return tasks.trace("lmcache", times=("started",), block_size=block_size)


class TraceLabReader:
    """Reads CSV of rounds, also packed."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line has the columns."""
        if not path.is_file():
            return False
        return set(_COLUMNS) <= set(column_names(first_line(path)))

    def read(self, path: Path, options: ReadOptions) -> TaskTrace:
        """Read the file; see :func:`inferencesim.workload.task_traces.reading.read_tasks`."""
        tasks = Tasks(path, options)
        sessions: dict[str, Span] = {}
        waits_s: dict[str, float] = {}
        with open_text(path) as file:
            rows = csv.DictReader(file)
            for name in _COLUMNS:
                if name not in (rows.fieldnames or ()):
                    found = ", ".join(rows.fieldnames or ()) or "nothing"
                    raise InputError(place(path, 1), f"the column {name!r} is missing", f"Found: {found}.")
            has_clock = "arrival_time" in (rows.fieldnames or ())
            for row in rows:
                try:
                    session = row["session_id"]
                    prefix, own, output = (int(row[name]) for name in ("prefix_len", "input_len", "output_len"))
                    wait_s = float(row["tool_wait_after_ms"]) / 1000.0
                    start_s = float(row["arrival_time"]) / 1000.0 if has_clock else len(sessions) * SESSION_GAP_S
                    sound = prefix >= 0 and 0.0 <= wait_s < 1e9 and 0.0 <= start_s < 1e12
                except (ValueError, TypeError):
                    sound = False
                if not sound:
                    tasks.reject(
                        rows.line_num, f"not a row with {', '.join(_COLUMNS)}: {','.join(map(str, row.values()))!r}"
                    )
                elif tasks.is_call(rows.line_num, prefix + own, output):
                    root = sessions.setdefault(session, Span("group", start_s, start_s, name=session))
                    at_s = root.end_s + waits_s.get(session, 0.0)
                    span = Span("call", at_s, at_s, prompt_tokens=prefix + own, output_tokens=output)
                    if root.children:
                        span.shares = shared_with(root.children[-1], prefix, span.prompt_tokens)
                    root.children.append(span)
                    root.end_s = at_s
                    waits_s[session] = wait_s
        for root in sessions.values():
            tasks.add(root)
        notes = [] if has_clock else [f"sessions have no arrival_time: one begins every {SESSION_GAP_S:g} s"]
        return tasks.trace("tracelab", times=("recorded",), notes=notes)


def shared_with(before: Span, prefix: int, prompt_tokens: int) -> tuple[Span, int]:
    """Return what a prompt begins with of the call before it, of which a cache had `prefix` tokens."""
    said = before.prompt_tokens + before.output_tokens
    shared = said if before.prompt_tokens - _BLOCK < prefix else min(prefix, said)
    return before, min(shared, prompt_tokens)
