"""The command that compares scenarios and policies, and says which differences are more than chance."""

from __future__ import annotations

import enum
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from inferencesim.cli.console import JobsOption, emit, guarded, processes, require_writable, say, show, write_text
from inferencesim.cli.simulating import SeedOption, SetOption  # noqa: TC001 - typer reads them
from inferencesim.errors import InputError


class ComparisonFormat(enum.StrEnum):
    """What is written to stdout."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


@guarded
def compare(
    scenarios: Annotated[
        list[str], typer.Argument(metavar="SCENARIO", help="Files, or names of shipped scenarios; one is enough.")
    ],
    policies: Annotated[
        list[str] | None, typer.Option("--policy", metavar="ID", help="A placement policy; repeatable.")
    ] = None,
    balancings: Annotated[
        list[str] | None, typer.Option("--balancing", metavar="ID", help="A balancing policy; repeatable.")
    ] = None,
    variants: Annotated[
        list[str] | None, typer.Option("--variant", metavar="NAME", help="A variant of the scenarios; repeatable.")
    ] = None,
    replications: Annotated[
        int, typer.Option("--replications", metavar="N", help="Of each; with --half-width, how many come first.")
    ] = 10,
    half_width: Annotated[
        str | None,
        typer.Option("--half-width", metavar="SHARE", help="Replicate until the first metric is known to ± this."),
    ] = None,
    at_most: Annotated[
        int, typer.Option("--at-most", metavar="N", help="Replications allowed for --half-width.")
    ] = 100,
    confidence: Annotated[
        str, typer.Option("--confidence", metavar="SHARE", help="With which all intervals hold together.")
    ] = "95%",
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="PATH", help="As in ttft_s.p99 or classes.chat.slo_attainment; repeatable."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="NAME", help="The alternative to compare with, or best; default the first."),
    ] = None,
    jobs: JobsOption = None,
    output: Annotated[
        ComparisonFormat, typer.Option("--format", help="table, Markdown, or one JSON document on stdout.")
    ] = ComparisonFormat.TABLE,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="Also plot cost against promises kept.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Also write the JSON document there.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    overrides: SetOption = None,
    seed: SeedOption = None,
) -> None:
    """Play scenarios or policies on the same random numbers, and show which differences are more than chance."""
    from inferencesim.report.plots import make_room
    from inferencesim.scenario.loading import load_scenario
    from inferencesim.units import to_si

    at_once = processes(jobs)
    length = None if half_width is None else to_si(half_width, "fraction", "--half-width")
    certain = to_si(confidence, "fraction", "--confidence")
    chosen: list[str | None] = list(variants) if variants else [None]
    if len(set(chosen)) < len(chosen):
        raise InputError("--variant", "one is given twice", "Name each variant once.")
    loaded = [load_scenario(name, overrides or (), seed, variant) for name in scenarios for variant in chosen]
    if plot is not None:
        make_room(plot)
    if out is not None:
        require_writable(out, force)

    from inferencesim.cli.progress import RunProgress

    with RunProgress() as progress:
        from inferencesim.experiments.alternatives import alternatives
        from inferencesim.experiments.compare import compare_alternatives

        progress.label("comparing")
        found = compare_alternatives(
            alternatives(loaded, policies or (), balancings or ()),
            replications=replications,
            half_width=length,
            at_most=at_most,
            confidence=certain,
            metrics=metrics or (),
            against=against,
            jobs=at_once,
            progress=progress,
        )
    document = found.model_dump(mode="json")
    if output is ComparisonFormat.JSON:
        emit(document)
    else:
        from inferencesim.report.comparison import comparison_parts
        from inferencesim.report.markdown import markdown

        if output is ComparisonFormat.MARKDOWN:
            typer.echo(markdown(comparison_parts(found)), nl=False)
        else:
            show(comparison_parts(found))
    if out is not None:
        import json

        write_text(out, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", force)
    if plot is not None:
        from inferencesim.report.pareto import plot_pareto
        from inferencesim.report.plots import save

        say(f"picture: {save(plot_pareto(found), plot)}")
