"""Tables of the library: workload classes, and whole tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferencesim.report.formats import NOTHING, seconds
from inferencesim.report.tables import new_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from inferencesim.scenario.library import LibraryClass, LibraryEntry
    from inferencesim.scenario.task_library import LibraryTask
    from inferencesim.scenario.tasks import TaskClass
    from inferencesim.scenario.workload import WorkloadClass


def class_list_table(classes: Sequence[tuple[LibraryClass, WorkloadClass]]) -> Table:
    """Return one line per class: the library's own, and what a scenario that is like it gets."""
    table = new_table("", "class", "kind", "latency", "promise", "description", left=5)
    for library, each in classes:
        promise = each.promise.model_dump(exclude_none=True)
        said = ", ".join(f"{name} {seconds(limit)}" for name, limit in promise.items())
        table.add_row(library.id, each.kind, each.tags.sensitivity, said or NOTHING, library.description)
    return table


def task_list_table(tasks: Sequence[tuple[LibraryTask, TaskClass]]) -> Table:
    """Return one line per task: the library's own, and what a scenario that is like it gets."""
    table = new_table("", "task", "calls", "tools", "latency", "description", left=5)
    for library, each in tasks:
        promised = NOTHING if each.promise.latency is None else seconds(each.promise.latency)
        table.add_row(
            library.id, ", ".join(library.calls), ", ".join(library.tools) or NOTHING, promised, library.description
        )
    return table


def entry_table(library: LibraryEntry) -> Table:
    """Return every number of a class or task with where it is from, and what it says besides."""
    table = new_table(f"{library.id}: {library.description}", "key", "value", "provenance", "source", left=4)
    for path, value in library.unsourced():
        table.add_row(path, _written(value))
    table.add_section()
    for path, source in library.sources.items():
        note = f" ({source.note})" if source.note else ""
        table.add_row(path, _written(library.at(path)), source.provenance, source.source + note)
    return table


def _written(value: Any) -> str:
    """Return a value as one would say it: a distribution by its name and its numbers."""
    if isinstance(value, dict):
        return ", ".join(
            _written(each) if key in {"distribution", "process"} else f"{key} {_written(each)}"
            for key, each in value.items()
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " × ".join(map(str, value))
    return str(value)
