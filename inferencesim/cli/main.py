"""The command line: one function per command, nothing heavy imported before it is needed."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from inferencesim.cli import (
    accuracy,
    calibrate,
    catalogues,
    compare,
    curves,
    evidence,
    planning,
    scaffolding,
    sensitivity,
    simulating,
    sweep,
    traces,
)

app = typer.Typer(
    name="inferencesim",
    help="Simulate heterogeneous AI-inference fleets: cost per completed request, promises kept, and why.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: importing its decoration would take half of the time help may take
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"inferencesim {metadata.version('inferencesim')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Simulate heterogeneous AI-inference fleets: cost per completed request, promises kept, and why."""


app.command("run")(simulating.run)
app.command("validate")(simulating.validate)
app.command("show")(simulating.show_run)
app.command("diff")(simulating.diff)
app.command("audit")(evidence.audit_run)
app.command("explain")(evidence.explain_recorded)
app.command("demo")(simulating.demo)
app.command("compare")(compare.compare)
app.command("accuracy")(accuracy.accuracy)
app.command("calibrate")(calibrate.calibrate)
app.command("sensitivity")(sensitivity.sensitivity)
app.command("sweep")(sweep.sweep)
app.command("plan")(planning.plan)
app.command("max-rate")(planning.max_rate)
app.command("schema")(catalogues.schema)
app.add_typer(curves.curves, name="curves")
app.add_typer(catalogues.hardware, name="hardware")
app.add_typer(catalogues.models, name="models")
app.add_typer(catalogues.classes, name="classes")
app.add_typer(catalogues.tasks, name="tasks")
app.add_typer(catalogues.providers, name="providers")
app.add_typer(catalogues.policies, name="policies")
app.add_typer(catalogues.scenarios, name="scenarios")
app.add_typer(scaffolding.new, name="new")
catalogues.hardware.command("new")(scaffolding.new_hardware)
app.add_typer(traces.trace, name="trace")


def main() -> None:
    """Run the command line."""
    # Imports make objects by the hundred thousand, all of which stay: to look through them for garbage again and again
    # takes a twentieth of the time in which a command starts.
    gc.set_threshold(100_000)
    app()
