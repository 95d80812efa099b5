"""What became of the promises of classes of tasks, and what those broken were lost to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.results.findings import TaskCauseCount, TaskPromises

if TYPE_CHECKING:
    from inferencesim.results.task_rows import TaskRows, TaskTables


def promises_of(tables: TaskTables, name: str) -> TaskPromises:
    """Return what became of the promises of the tasks of one class, with the causes of those broken."""
    own = tables.tasks[(tables.tasks["task_class"] == name).to_numpy(bool)]
    kept = own["promise_kept"].astype(object)
    lost = own["task"][(kept == False).to_numpy(bool)]  # noqa: E712 - null is open
    found = [tables.of(name, int(number)) for number in lost]
    return TaskPromises(
        name=name,
        tasks=len(own),
        kept=int((kept == True).sum()),  # noqa: E712 - likewise
        broken=len(lost),
        open=int(kept.isna().sum()),
        causes=_counted([rows for rows in found if rows is not None]),
    )


def _counted(lost: list[TaskRows]) -> tuple[TaskCauseCount, ...]:
    """Return the causes of some broken promises, the most frequent first, each with its tasks."""
    by_cause: dict[tuple[str, str], list[TaskRows]] = {}
    for rows in lost:
        cause = rows.cause()
        if cause is not None:
            by_cause.setdefault((cause.what, cause.by or ""), []).append(rows)
    counts = []
    for (what, by), every in sorted(by_cause.items()):
        worst = sorted(every, key=lambda each: (-each.latency_s, each.task.task))
        names = tuple(each.name for each in worst)
        counts.append(
            TaskCauseCount.model_validate({"what": what, "by": by or None, "tasks": len(every), "worst": names})
        )
    return tuple(sorted(counts, key=lambda each: -each.tasks))
