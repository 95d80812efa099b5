"""BurstGPT (HPMLL/BurstGPT): a CSV read by header name, so that versions 1 to 3 are one format.

``Timestamp`` in seconds, ``Model``, ``Request tokens``, ``Response tokens``,
``Total tokens``, ``Log Type``; version 3 adds ``Session ID`` and ``Elapsed
time``. A row without response tokens is a request that failed: it is counted
apart and left out, since its work is unknown.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from inferencesim.workload.traces.record import Texts
from inferencesim.workload.traces.rows import Rows, column_names, first_line, header_columns, open_text

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.traces.record import ReadOptions, Trace

_COLUMNS = ("Timestamp", "Model", "Request tokens", "Response tokens", "Log Type")
_SESSION = "Session ID"


class BurstGPTReader:
    """Reads the published CSV files; `Model` and `Log Type` can be selected by."""

    def sniff(self, path: Path) -> bool:
        """Say whether the header is BurstGPT's."""
        return path.is_file() and set(_COLUMNS) <= set(column_names(first_line(path)))

    def read(self, path: Path, options: ReadOptions) -> Trace:
        """Read the file; see :func:`inferencesim.workload.traces.reading.read_trace`."""
        rows = Rows(path, options, ("Model", "Log Type"))
        sessions = Texts()
        with open_text(path) as file:
            header = file.readline()
            stamp, model, prompt, output, kind = header_columns(path, header, _COLUMNS)
            session_at = header_columns(path, header, (_SESSION,))[0] if _SESSION in header else None
            reader = csv.reader(file)
            for fields in reader:
                if not fields:
                    continue
                line = reader.line_num + 1
                try:
                    seconds = float(fields[stamp])
                    tokens = int(float(fields[prompt])), int(float(fields[output]))
                    texts = fields[model], fields[kind]
                    named = "" if session_at is None else fields[session_at].strip()
                except (ValueError, IndexError, OverflowError):
                    rows.reject(line, f"not a time, two counts of tokens and a kind: {','.join(fields)[:80]!r}")
                    continue
                if tokens[1] == 0 and tokens[0] >= 0:
                    rows.failed += 1
                elif not rows.add(line, seconds, *tokens, sessions.code(named) if named else -1, texts):
                    break
        return rows.trace("burstgpt")
