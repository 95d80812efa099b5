"""The command that says which parameter moves which figure."""

from __future__ import annotations

from typing import Annotated

import typer

from inferencesim.cli.console import Format, FormatOption, JobsOption, emit, guarded, processes, show
from inferencesim.cli.simulating import ScenarioArgument, SeedOption, SetOption  # noqa: TC001 - typer reads them


@guarded
def sensitivity(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    seed: SeedOption = None,
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="NAME", help="Move its parameters only; default those of all pools.")
    ] = None,
    by: Annotated[str, typer.Option("--by", metavar="SHARE", help="By how much each parameter is moved.")] = "10%",
    jobs: JobsOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Simulate a scenario with each parameter of chips and engines better, and worse, and show what moves."""
    from inferencesim.scenario.loading import load_scenario
    from inferencesim.units import to_si

    at_once = processes(jobs)
    share = to_si(by, "fraction", "--by")
    loaded = load_scenario(scenario, overrides or (), seed)

    from inferencesim.cli.progress import RunProgress

    with RunProgress() as progress:
        from inferencesim.experiments.sensitivity import measure_sensitivity

        report = measure_sensitivity(loaded, pool=pool, share=share, jobs=at_once, progress=progress)
    if output is Format.JSON:
        emit(report.model_dump(mode="json"))
        return
    from inferencesim.report.sensitivity import sensitivity_tables

    show(sensitivity_tables(report))
