"""The command that simulates a scenario at many settings of its parameters."""

from __future__ import annotations

import enum
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from inferencesim.cli.console import EXIT_INPUT, Format, FormatOption, JobsOption, emit, guarded, processes, say, show
from inferencesim.cli.simulating import RUNS, ScenarioArgument, SeedOption, SetOption, VariantOption
from inferencesim.errors import InputError


class Design(enum.StrEnum):
    """How several axes are combined."""

    GRID = "grid"
    LHS = "lhs"


@guarded
def sweep(
    scenario: ScenarioArgument,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="PATH=VALUES",
            help="pools.premium.replicas=2,4,8, or a range: path=10/s..50/s:5, also :5:log; repeatable.",
        ),
    ] = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    variant: VariantOption = None,
    design: Annotated[Design, typer.Option("--design", help="All combinations, or a Latin hypercube.")] = Design.GRID,
    samples: Annotated[int | None, typer.Option("--samples", metavar="N", help="Of the Latin hypercube.")] = None,
    replications: Annotated[
        int, typer.Option("--replications", metavar="N", help="Of every combination, each with a seed of its own.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where trials are kept and found; default runs/sweep-<name>."),
    ] = None,
    jobs: JobsOption = None,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="Simulate on the workers of a Dask scheduler: tcp://…"),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="K/N", help="Only this part of the trials, for batch systems.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="DIR", help="Also plot all figures against all parameters.")
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Simulate a scenario at many settings; started again, it goes on where it was, however it ended."""
    from inferencesim.experiments.axes import parse_vary
    from inferencesim.scenario.loading import load_scenario

    if scheduler is not None and jobs is not None:
        raise InputError("--jobs", "is for this machine, --scheduler for others", "Give one of them.")
    varied = parse_vary(vary or ())
    at_once = processes(jobs)
    folder = out or RUNS / f"sweep-{load_scenario(scenario, overrides or (), seed, variant).name}"

    from inferencesim.cli.progress import RunProgress

    with RunProgress(time_left=True) as progress:
        from inferencesim.experiments import sweep as experiment

        found = experiment.sweep(
            scenario,
            varied,
            overrides=overrides or (),
            seed=seed,
            variant=variant,
            design=design.value,
            samples=samples,
            replications=replications,
            out=folder,
            jobs=at_once,
            scheduler=scheduler,
            shard=shard,
            progress=progress,
        )
    from inferencesim.report.sweep import sweep_tables

    if output is Format.JSON:
        emit(found.model_dump(mode="json"))
    else:
        show(sweep_tables(found))
    if shard is None:
        from inferencesim.results.trial_folder import RESULTS

        say(f"wrote {folder / RESULTS}")
    else:
        say(f"kept in {folder}; the same command without --shard gathers all parts")
    if plot is not None:
        from inferencesim.report.sweep_plots import save_sweep_plots

        pictures = save_sweep_plots(found, plot)
        say(f"wrote {len(pictures)} pictures to {plot}")
    if found.trials and len(found.failures) == len(found.trials):
        say("error: no trial could be simulated")
        raise typer.Exit(EXIT_INPUT)
