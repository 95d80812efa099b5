"""Mooncake traces (kvcache-ai/Mooncake, Apache-2.0): one JSON object per line.

``timestamp`` in milliseconds, ``input_length``, ``output_length``, and
``hash_ids``, one per block of 512 prompt tokens, the last of which may be
partial. The variants of other tools that only rename fields are read too:
``input_tokens``, ``output_tokens``, ``created_time``, ``session_id``,
``block_size``. Readers that count in seconds (GuideLLM) need their times
multiplied by 1000 first.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inferencesim.workload.traces.record import Texts
from inferencesim.workload.traces.rows import Rows, first_object, lines_of, whole_number

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.traces.record import ReadOptions, Trace

_BLOCK_SIZE = 512


class MooncakeReader:
    """Reads the published JSONL files, also packed."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line is an object with Mooncake's fields."""
        row = first_object(path)
        if row is None or not isinstance(row.get("hash_ids", []), list):
            return False
        return _has(row, "timestamp", "created_time") and _has(row, "input_length", "input_tokens")

    def read(self, path: Path, options: ReadOptions) -> Trace:
        """Read the file; see :func:`inferencesim.workload.traces.reading.read_trace`."""
        rows = Rows(path, options)
        sessions = Texts()
        block_size: int | None = None
        for line, text in lines_of(path):
            try:
                row = json.loads(text)
                seconds = float(_get(row, "timestamp", "created_time")) / 1000.0
                prompt = whole_number(_get(row, "input_length", "input_tokens"))
                output = whole_number(_get(row, "output_length", "output_tokens"))
                size = whole_number(row.get("block_size", _BLOCK_SIZE))
                blocks = row.get("hash_ids")
                hashes = None if blocks is None else [whole_number(block) for block in blocks]
                named = row.get("session_id")
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                rows.reject(line, f"not a row with timestamp, lengths and hash_ids: {text.strip()[:80]!r}")
                continue
            block_size = block_size or size
            if size != block_size or size < 1:
                rows.reject(line, f"blocks of {size} tokens, where those before have {block_size}")
            elif hashes is not None and len(hashes) > -(-prompt // size):
                rows.reject(line, f"{len(hashes)} blocks of {size} tokens for a prompt of {prompt}")
            else:
                session = -1 if named is None else sessions.code(str(named))
                if not rows.add(line, seconds, prompt, output, session, blocks=hashes):
                    break
        return rows.trace("mooncake", block_size)


def _has(row: dict[str, Any], *names: str) -> bool:
    return any(name in row for name in names)


def _get(row: dict[str, Any], *names: str) -> Any:
    return next(row[name] for name in names if name in row) if _has(row, *names) else row[names[0]]
