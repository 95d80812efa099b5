"""Where the tables of a run go: kept in memory, or written as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The tables of a run.
TABLES = ("requests", "decisions", "tasks", "steps", "series")


class Sink(Protocol):
    """Takes the tables of a run piece by piece."""

    def write(self, name: str, part: pa.Table) -> None:
        """Take the next rows of table `name`."""


class MemorySink:
    """Keeps all tables in memory."""

    def __init__(self) -> None:
        self._parts: dict[str, list[pa.Table]] = {name: [] for name in TABLES}

    def write(self, name: str, part: pa.Table) -> None:
        """Keep the next rows of table `name`."""
        self._parts[name].append(part)

    def tables(self) -> Mapping[str, pa.Table]:
        """Return what was written, one table each; tables without rows are left out."""
        return {
            name: pa.concat_tables(parts).unify_dictionaries().combine_chunks()
            for name, parts in self._parts.items()
            if parts
        }
