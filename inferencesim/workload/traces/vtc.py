"""Requests of LMSYS' Chatbot Arena by client, from the artefact of VTC (Ying1123/VTC-artifact, Apache-2.0), as CSV.

``req_time_s``, ``client``, ``prompt_len``, ``output_len``; the artefact itself has
a pickle, to be written out so. A class per client makes tenants of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.workload.traces.rows import Rows, column_names, first_line, header_columns, open_text, row_fields

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.traces.record import ReadOptions, Trace

_COLUMNS = ("req_time_s", "client", "prompt_len", "output_len")


class VTCReader:
    """Reads the CSV, also packed; `client` can be selected by."""

    def sniff(self, path: Path) -> bool:
        """Say whether the header has the columns."""
        return path.is_file() and set(_COLUMNS) <= set(column_names(first_line(path)))

    def read(self, path: Path, options: ReadOptions) -> Trace:
        """Read the file; see :func:`inferencesim.workload.traces.reading.read_trace`."""
        rows = Rows(path, options, ("client",))
        with open_text(path) as file:
            stamp, client, prompt, output = header_columns(path, file.readline(), _COLUMNS)
            for line, text in enumerate(file, start=2):
                fields = row_fields(text)
                if fields == [""]:
                    continue
                try:
                    seconds, tokens = float(fields[stamp]), (int(fields[prompt]), int(fields[output]))
                    texts = (fields[client],)
                except (ValueError, IndexError):
                    rows.reject(line, f"not a time, a client and two counts of tokens: {text.strip()[:80]!r}")
                    continue
                if not rows.add(line, seconds, *tokens, texts=texts):
                    break
        return rows.trace("vtc")
