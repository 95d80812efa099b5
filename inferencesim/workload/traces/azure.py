"""Azure LLM inference traces of 2023, 2024 and 2025 (Azure/AzurePublicDataset, CC-BY 4.0).

``TIMESTAMP,ContextTokens,GeneratedTokens``, in UTC: 2023 with seven digits and
no zone, 2024 with ``+00:00`` and an optional fraction, 2025 with ``Z`` and one
more column. Time counts from the first row; digits beyond microseconds are cut.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from inferencesim.workload.traces.rows import Rows, column_names, first_line, header_columns, open_text, row_fields

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.traces.record import ReadOptions, Trace

_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


class AzureReader:
    """Reads the published CSV files, also packed."""

    def sniff(self, path: Path) -> bool:
        """Say whether the header is Azure's."""
        return path.is_file() and set(_COLUMNS) <= set(column_names(first_line(path)))

    def read(self, path: Path, options: ReadOptions) -> Trace:
        """Read the file; see :func:`inferencesim.workload.traces.reading.read_trace`."""
        rows = Rows(path, options, from_first=True)
        origin: datetime | None = None
        with open_text(path) as file:
            stamp, prompt, output = header_columns(path, file.readline(), _COLUMNS)
            for line, text in enumerate(file, start=2):
                fields = row_fields(text)
                if fields == [""]:
                    continue
                try:
                    # Zones of one file may be written or not; all are UTC.
                    moment = datetime.fromisoformat(fields[stamp].removesuffix("Z").removesuffix("+00:00"))
                    tokens = int(fields[prompt]), int(fields[output])
                    origin = origin or moment
                    seconds = (moment - origin).total_seconds()
                except (ValueError, IndexError, TypeError):
                    rows.reject(line, f"not a time and two counts of tokens: {text.strip()[:80]!r}")
                    continue
                if not rows.add(line, seconds, *tokens):
                    break
        return rows.trace("azure")
