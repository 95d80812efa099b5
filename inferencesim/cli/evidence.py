"""Commands that prove what a run recorded: audit, explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from inferencesim.cli.console import EXIT_FOUND, Format, FormatOption, emit, guarded, show
from inferencesim.cli.simulating import RunArgument  # noqa: TC001 - typer reads it

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from inferencesim.results.records.base import Record
    from inferencesim.results.run import Run

#: A story as a document, and what makes the text of it.
Told: TypeAlias = "tuple[Record, Callable[[], list[RenderableType]]]"


@guarded
def audit_run(
    run: RunArgument,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="HEAD", help="The head that `run` printed, as you kept it.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Name all requests and tasks of each cause, not the worst three.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Prove a run's hard constraints and that no row was changed; list every broken promise by cause.

    The exit code is 3 where a row was changed or a constraint is broken.
    """
    from inferencesim.results.audit import audit
    from inferencesim.results.run import Run

    found = audit(Run.load(run), expect)
    if output is Format.JSON:
        emit(found.model_dump(mode="json"))
    else:
        from inferencesim.report.evidence import audit_tables

        show(audit_tables(found, every=every))
    if not found.holds:
        raise typer.Exit(EXIT_FOUND)


@guarded
def explain_recorded(
    run: RunArgument,
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="The id of a request, a task as CLASS/NUMBER, or a class of tasks."),
    ],
    every: Annotated[bool, typer.Option("--all", help="Tell every step of a long task.")] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Tell in plain words what became of one request or task, and why; of a class of tasks, list the worst."""
    from inferencesim.results.run import Run

    loaded = Run.load(run)
    name, slash, number = what.rpartition("/")
    if slash and number.isdecimal():
        told, parts = _task(loaded, name, int(number), every)
    elif slash or not _is_whole(what):
        told, parts = _tasks(loaded, what)
    else:
        told, parts = _request(loaded, int(what))
    if output is Format.JSON:
        emit(told.model_dump(mode="json"))
    else:
        show(parts())


def _request(run: Run, number: int) -> Told:
    from inferencesim.report.evidence import explanation_text
    from inferencesim.results.explanation import explain

    told = explain(run, number)
    return told, lambda: explanation_text(told)


def _task(run: Run, name: str, number: int, every: bool) -> Told:
    from inferencesim.report.task_evidence import task_text
    from inferencesim.results.task_story import explain_task

    told = explain_task(run, name, number)
    return told, lambda: task_text(told, every=every)


def _tasks(run: Run, name: str) -> Told:
    from inferencesim.report.task_evidence import task_list_tables
    from inferencesim.results.task_story import worst_tasks

    found = worst_tasks(run, name)
    return found, lambda: task_list_tables(found)


def _is_whole(what: str) -> bool:
    return what.removeprefix("-").isdecimal()
