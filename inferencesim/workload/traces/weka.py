"""Weka traces (callanjfox/kv-cache-tester, Apache-2.0): one recorded session of a coding agent per line, as JSON.

A session has ``id``, ``block_size``, ``hash_id_scope`` and ``requests``; a
request ``t`` in seconds since the session's start, ``model``, tokens ``in`` and
``out``, and ``hash_ids``, one per full block of its prompt. An entry of type
``subagent`` stands where the subagent was done: it has ``duration_ms`` and
``requests`` of its own, whose ``t`` count from its start. All requests of a
session come in order of time, whoever made them.

Sessions have no common clock. Here one begins every minute, in the file's order:
of the published 710, which last three hours in the mean, some 170 are open at a
time, and four in five requests come in the first twelve hours. Hash ids of scope
``local`` are those of their session alone and are numbered on from session to
session. Requests come at their recorded times; ``think_time`` and ``api_time``
are not read.
"""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferencesim.workload.traces.record import Texts
from inferencesim.workload.traces.rows import Rows, begins_object_with, lines_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inferencesim.workload.traces.record import ReadOptions, Trace

#: From the start of one session to that of the next.
SESSION_GAP_S = 60.0

#: Hash ids of one session lie below this, so that those of billions of sessions can be numbered on in 64 bits.
MOST_IDS = 2**31


class _Request(NamedTuple):
    seconds: float
    line: int
    prompt: int
    output: int
    session: int
    texts: tuple[str, str, str]
    blocks: array[int]


class WekaReader:
    """Reads JSONL of sessions, also packed; `session`, `model` and `agent` (main, or a subagent's type) are labels."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line begins as a session does."""
        return begins_object_with(path, ("hash_id_scope", "block_size", "requests"))

    def read(self, path: Path, options: ReadOptions) -> Trace:
        """Read the file; see :func:`inferencesim.workload.traces.reading.read_trace`."""
        rows = Rows(path, options, ("session", "model", "agent"))
        sessions = _Sessions(rows)
        for line, text in lines_of(path):
            sessions.take(line, text)
        # In order of time, from the end of the list: what has become a row needs no second copy of its blocks.
        pending = sorted(sessions.requests, key=lambda each: each.seconds)[::-1]
        sessions.requests.clear()
        while pending:
            each = pending.pop()
            if not rows.add(each.line, each.seconds, each.prompt, each.output, each.session, each.texts, each.blocks):
                break
        return replace(rows.trace("weka", sessions.block_size), notes=sessions.notes())


class _Sessions:
    """The sessions of a file on one clock, and their hash ids in one numbering."""

    def __init__(self, rows: Rows) -> None:
        self.requests: list[_Request] = []
        self.block_size: int | None = None
        self._rows = rows
        self._names = Texts()
        self._count = 0
        self._next_id = 0
        self._without_duration = 0

    def take(self, line: int, text: str) -> None:
        """Take the session on a line, or count the line as malformed."""
        try:
            session = json.loads(text)
            name, size = str(session["id"]), whole_number(session["block_size"])
            local = session["hash_id_scope"] == "local"
            requests = list(self._flat(session["requests"], 0.0, "main"))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            self._rows.reject(line, f"not a session with id, block_size and requests: {text.strip()[:80]!r}")
            return
        self.block_size = self.block_size or size
        if size != self.block_size or size < 1:
            self._rows.reject(line, f"blocks of {size} tokens, where those before have {self.block_size}")
            return
        code = self._names.code(name)
        first_id = self._next_id if local else 0
        for number, (start_s, agent, row) in enumerate(requests, start=1):
            try:
                seconds = start_s + float(row["t"])
                prompt, output, model = whole_number(row["in"]), whole_number(row["out"]), str(row["model"])
                ids = np.array(array("q", row["hash_ids"]))  # refuses what is no whole number
                sound = 0.0 <= seconds < math.inf and not np.any((ids < 0) | (ids >= MOST_IDS))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                sound = False
            if not sound:
                self._rows.reject(line, f"request {number} of session {name} lacks t, model, in, out or hash_ids")
            elif len(ids) > -(-prompt // size):
                what = f"{len(ids)} blocks of {size} tokens for a prompt of {prompt}"
                self._rows.reject(line, f"request {number} of session {name}: {what}")
            elif output == 0:
                self._rows.failed += 1
            else:
                seconds += self._count * SESSION_GAP_S
                blocks = array("q", (first_id + ids).tobytes())
                self.requests.append(_Request(seconds, line, prompt, output, code, (name, model, agent), blocks))
                self._next_id = max(self._next_id, first_id + int(ids.max(initial=-1)) + 1)
        self._count += 1

    def _flat(self, requests: list[dict[str, Any]], start_s: float, agent: str) -> Iterator[tuple[float, str, Any]]:
        """Yield all requests, those of subagents in their place, with who made them and what their times count from."""
        for row in requests:
            if row["type"] != "subagent":
                yield start_s, agent, row
                continue
            # A subagent that was launched and not waited for has no duration; its entry stands at its start.
            duration_ms = row["duration_ms"]
            self._without_duration += duration_ms is None
            began_s = max(0.0, float(row["t"]) - float(duration_ms or 0.0) / 1000.0)
            yield from self._flat(row["requests"], start_s + began_s, str(row["subagent_type"]))

    def notes(self) -> tuple[str, ...]:
        """Say what had to be assumed."""
        notes = [f"sessions have no common clock: one begins every {SESSION_GAP_S:g} s, in the file's order"]
        if self._without_duration:
            notes.append(f"{self._without_duration} subagents without a duration begin where their entry stands")
        return tuple(notes)
