"""RAGPulse (flashserve/RAGPulse, MIT): requests of a service that answers from retrieved passages, one per line.

``timestamp`` in seconds, as text; ``input_length``, ``output_length``,
``session_id``, and ``hash_ids``: the parts of the prompt by their ids, in the
order of the prompt. The file is not in order of time. Files beside it say how
many tokens each part has (``1_sys_prompt.jsonl`` to ``5_web_search.jsonl``);
with them the prompts have block hashes, without them none. Some ten tokens of a
prompt belong to no part; they are taken to be its last.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from inferencesim.workload.traces.record import MalformedRow, Texts, reject
from inferencesim.workload.traces.rows import Rows, first_object, lines_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inferencesim.workload.traces.record import ReadOptions, Trace

#: Parts of a prompt in its order, the file that has their lengths, and what it calls their ids.
_PARTS = {
    "sys_prompt": ("1_sys_prompt.jsonl", "sys_prompt_id"),
    "passages_ids": ("2_passages.jsonl", "passage_id"),
    "history": ("3_history.jsonl", "history_id"),
    "web_search": ("5_web_search.jsonl", "web_search_id"),
    "user_input": ("4_user_input.jsonl", "user_input_id"),
}

#: Tokens of a block, as vLLM has them.
_BLOCK_SIZE = 16


class _Request(NamedTuple):
    seconds: float
    line: int
    prompt: int
    output: int
    session: int
    blocks: list[int] | None


class RAGPulseReader:
    """Reads the published file of requests, also packed."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line is a request whose prompt has parts."""
        row = first_object(path)
        if row is None or "session_id" not in row:
            return False
        parts = row.get("hash_ids")
        return isinstance(parts, dict) and set(parts) <= set(_PARTS)

    def read(self, path: Path, options: ReadOptions) -> Trace:
        """Read the file; see :func:`inferencesim.workload.traces.reading.read_trace`."""
        rows = Rows(path, options)
        lengths = _lengths(path.parent, options, rows.malformed)
        requests = sorted(_requests(path, rows, None if lengths is None else _Blocks(lengths)))
        for each in requests:
            if not rows.add(each.line, each.seconds, each.prompt, each.output, each.session, blocks=each.blocks):
                break
        if lengths is not None:
            return rows.trace("ragpulse", _BLOCK_SIZE)
        note = "not all lengths of parts (1_sys_prompt.jsonl to 5_web_search.jsonl) lie beside it: nothing is shared"
        return replace(rows.trace("ragpulse"), notes=(note,))


def _requests(path: Path, rows: Rows, blocks: _Blocks | None) -> Iterator[_Request]:
    """Yield the requests as they lie, having counted the malformed ones."""
    sessions = Texts()
    for line, text in lines_of(path):
        try:
            row = json.loads(text)
            seconds = float(row["timestamp"])
            prompt, output = whole_number(row["input_length"]), whole_number(row["output_length"])
            parts = [whole_number(part) for name in _PARTS for part in row["hash_ids"].get(name, ())]
            session = sessions.code(str(row["session_id"]))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            rows.reject(line, f"not a row with timestamp, lengths, hash_ids and session_id: {text.strip()[:80]!r}")
            continue
        hashes = None if blocks is None else blocks.of(parts)
        if not 0.0 <= seconds < math.inf:
            rows.reject(line, f"the time ({seconds} s) is not at or after the trace's zero")
        elif hashes is not None and len(hashes) * _BLOCK_SIZE > prompt:
            rows.reject(line, f"parts of at least {len(hashes) * _BLOCK_SIZE} tokens for a prompt of {prompt}")
        else:
            yield _Request(seconds, line, prompt, output, session, hashes)


class _Blocks:
    """Ids of blocks: two prompts share one where all parts are equal up to the one in which it ends."""

    def __init__(self, lengths: dict[int, int]) -> None:
        self._lengths = lengths
        self._beginnings: dict[tuple[int, int], int] = {}
        self._ids: dict[tuple[int, int], int] = {}

    def of(self, parts: list[int]) -> list[int]:
        """Return the ids of the blocks that `parts` fill, up to a part of unknown length."""
        blocks: list[int] = []
        beginning = tokens = 0
        for part in parts:
            if part not in self._lengths:
                break
            beginning = self._beginnings.setdefault((beginning, part), len(self._beginnings) + 1)
            tokens += self._lengths[part]
            places = range(len(blocks), tokens // _BLOCK_SIZE)
            blocks.extend(self._ids.setdefault((beginning, place), len(self._ids)) for place in places)
        return blocks


def _lengths(folder: Path, options: ReadOptions, malformed: list[MalformedRow]) -> dict[int, int] | None:
    """Return the tokens of each part, None if a file is missing; ids of all kinds are numbered as one."""
    lengths: dict[int, int] = {}
    for name, key in _PARTS.values():
        path = folder / name
        if not path.exists():
            return None
        for line, text in lines_of(path):
            try:
                row: dict[str, Any] = json.loads(text)
                lengths[whole_number(row[key])] = whole_number(row["token_length"])
            except (ValueError, KeyError, TypeError):
                malformed.append(reject(path, line, f"not a row with {key} and token_length", options.strict))
    return lengths
