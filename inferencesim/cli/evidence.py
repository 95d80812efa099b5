"""Commands that prove what a run recorded: audit, explain."""

from __future__ import annotations

from typing import Annotated

import typer

from inferencesim.cli.console import EXIT_FOUND, Format, FormatOption, emit, guarded, show
from inferencesim.cli.simulating import RunArgument  # noqa: TC001 - typer reads it


@guarded
def audit_run(
    run: RunArgument,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="HEAD", help="The head that `run` printed, as you kept it.")
    ] = None,
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

        show(audit_tables(found))
    if not found.holds:
        raise typer.Exit(EXIT_FOUND)


@guarded
def explain_request(
    run: RunArgument,
    request: Annotated[int, typer.Argument(metavar="REQUEST", help="The id of a request.")],
    output: FormatOption = Format.TABLE,
) -> None:
    """Tell in plain words what became of one request, and why."""
    from inferencesim.results.explanation import explain
    from inferencesim.results.run import Run

    told = explain(Run.load(run), request)
    if output is Format.JSON:
        emit(told.model_dump(mode="json"))
        return
    from inferencesim.report.evidence import explanation_text

    show(explanation_text(told))
