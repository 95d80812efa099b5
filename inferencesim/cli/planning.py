"""Commands that size fleets: plan, max-rate."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from inferencesim.cli.console import (
    EXIT_FOUND,
    Format,
    FormatOption,
    JobsOption,
    emit,
    guarded,
    processes,
    require_writable,
    say,
    show,
    write_text,
)
from inferencesim.cli.simulating import ScenarioArgument, SeedOption, SetOption, VariantOption  # noqa: TC001 - for typer

SloOption = Annotated[
    str, typer.Option("--slo", metavar="attainment=SHARE", help="Share of promises to keep, as in attainment=99%.")
]
ConfidenceOption = Annotated[
    str, typer.Option("--confidence", metavar="SHARE", help="Of the interval over replications.")
]
ReplicationsOption = Annotated[int, typer.Option("--replications", metavar="N", help="Replications, at least 2.")]


@guarded
def plan(
    scenario: ScenarioArgument,
    slo: SloOption,
    overrides: SetOption = None,
    seed: SeedOption = None,
    variant: VariantOption = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Its promises have to be kept; repeatable; default all."),
    ] = None,
    confidence: ConfidenceOption = "95%",
    replications: ReplicationsOption = 5,
    options: Annotated[
        Path | None,
        typer.Option("--options", metavar="FILE", help="What may change; else the scenario's block."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the answer as a scenario file; - is stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
    front: Annotated[
        bool, typer.Option("--front", help="Also show what no other fleet beats in cost, energy and attainment.")
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Plot that front.")] = None,
    budget: Annotated[
        str, typer.Option("--budget-time", metavar="TIME", help="After which nothing cheaper is looked for.")
    ] = "5min",
    marginal: Annotated[bool, typer.Option(help="Plan again with 10 % more load, for its price.")] = True,
    jobs: JobsOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Find the cheapest fleet that keeps its promises."""
    from inferencesim.scenario.loading import load_planning, load_scenario
    from inferencesim.units import to_si

    at_once = processes(jobs)
    share = _share(slo)
    sure = to_si(confidence, "fraction", "--confidence")
    budget_s = to_si(budget, "time", "--budget-time")
    loaded = load_scenario(scenario, overrides or (), seed, variant)
    planning = load_planning(scenario, overrides or (), variant, options)
    if out is not None:
        require_writable(str(out), force)
    if plot is not None:
        from inferencesim.report.plots import make_room

        make_room(plot)

    from inferencesim.cli.progress import CountProgress

    with CountProgress() as progress:
        from inferencesim.experiments.planning.document import plan_text
        from inferencesim.experiments.planning.fleet_plan import plan as find

        found = find(
            loaded, slo=share, planning=planning, classes=classes or (), confidence=sure, replications=replications,
            jobs=at_once, budget_s=budget_s, marginal=marginal, progress=progress,
        )  # fmt: skip
    if plot is not None:
        from inferencesim.report.fleet_plan import plot_front
        from inferencesim.report.plots import save

        say(f"picture: {save(plot_front(found), plot)}")
    if out is not None and found.answer is not None:
        write_text(str(out), plan_text(found), force)
    # Where the answer goes to stdout, nothing else may.
    if str(out) != "-" or found.answer is None:
        if output is Format.JSON:
            emit(found.model_dump(mode="json"))
        else:
            from inferencesim.report.fleet_plan import plan_tables

            show(plan_tables(found, front=front))
    if found.answer is None:
        raise typer.Exit(EXIT_FOUND)


@guarded
def max_rate(
    scenario: ScenarioArgument,
    slo: SloOption,
    overrides: SetOption = None,
    seed: SeedOption = None,
    variant: VariantOption = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Multiply its load only; repeatable; default all."),
    ] = None,
    confidence: ConfidenceOption = "95%",
    replications: ReplicationsOption = 5,
    jobs: JobsOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Find the highest load that a fleet carries within its promises."""
    from inferencesim.scenario.loading import load_scenario
    from inferencesim.units import to_si

    at_once = processes(jobs)
    share = _share(slo)
    sure = to_si(confidence, "fraction", "--confidence")
    loaded = load_scenario(scenario, overrides or (), seed, variant)

    from inferencesim.cli.progress import CountProgress

    with CountProgress() as progress:
        from inferencesim.experiments.planning.max_rate import max_rate as find

        found = find(
            loaded, slo=share, classes=classes or (), confidence=sure, replications=replications, jobs=at_once,
            progress=progress,
        )  # fmt: skip
    if output is Format.JSON:
        emit(found.model_dump(mode="json"))
    else:
        from inferencesim.report.fleet_plan import max_rate_tables

        show(max_rate_tables(found))


def _share(slo: str) -> float:
    """Read ``attainment=99%``, or the share alone.

    Raises
    ------
    InputError
        If it is neither.
    """
    from inferencesim.errors import InputError
    from inferencesim.units import to_si

    name, equals, text = slo.partition("=")
    if equals and name.strip() != "attainment":
        raise InputError("--slo", f"{name!r} cannot be asked for", "Write attainment=99%.")
    return to_si(text if equals else slo, "fraction", "--slo")
