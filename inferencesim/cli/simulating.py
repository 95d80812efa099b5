"""Commands that run scenarios and look at runs: run, validate, show, diff, demo."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferencesim.cli.console import (
    EXIT_INTERRUPTED,
    Format,
    FormatOption,
    emit,
    guarded,
    say,
    say_malformed,
    show,
)

if TYPE_CHECKING:
    from rich.table import Table

    from inferencesim.results.run import Run
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.footprint import Footprint
    from inferencesim.simulation.plan import Plan

ScenarioArgument = Annotated[str, typer.Argument(metavar="SCENARIO", help="A file, or the name of a shipped scenario.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="Override one value, as in pools.premium.replicas=8; names with dots in brackets; repeatable.",
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Replaces the scenario's own.")]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="PNG", help="Also plot queue, KV, utilisation and power over time.")
]
VariantOption = Annotated[
    str | None, typer.Option("--variant", metavar="NAME", help="One of the variants the scenario describes.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]

#: Where runs go unless --out says otherwise.
RUNS = Path("runs")
#: The scenario whose variants the demo plays.
DEMO = "express_lane_freight"


@guarded
def run(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    seed: SeedOption = None,
    variant: VariantOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Run folder; default runs/<name>-<seed>-<n>.")
    ] = None,
    output: FormatOption = Format.TABLE,
    strict: Annotated[bool, typer.Option("--strict", help="A malformed trace row is an error.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run that is in the folder.")] = False,
    plot: PlotOption = None,
) -> None:
    """Simulate a scenario: tables on stdout, everything in a run folder."""
    from inferencesim.cli.progress import RunProgress
    from inferencesim.report.plots import make_room
    from inferencesim.results.run_folder import next_run_folder
    from inferencesim.scenario.loading import load_scenario

    loaded = load_scenario(scenario, overrides or (), seed, variant)
    if plot is not None:
        make_room(plot)
    folder = out if out is not None else next_run_folder(RUNS, loaded.name, loaded.seed)
    progress = RunProgress()
    try:
        with progress:
            from inferencesim.api import simulate

            done = simulate(loaded, out=folder, force=force, progress=progress, strict=strict)
    except KeyboardInterrupt:
        recorded = f"what was recorded is in {folder}, marked incomplete" if progress.begun else "nothing was recorded"
        say(f"interrupted: {recorded}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    say_malformed(done.malformed)
    _warn(done.unserved)
    if plot is not None:
        _save_plot(done, plot)
    _print_summary(done, output)
    say(f"run folder: {folder}")


def _print_summary(done: Run, output: Format) -> None:
    """Print the summary of a run, and the head of its hash chain, which `audit --expect` asks for."""
    chain = done.manifest.chain
    head = None if chain is None else chain.head
    if output is Format.JSON:
        emit(done.summary.model_dump(mode="json") | {"head": head})
        return
    from inferencesim.report.summary import summary_tables

    show(summary_tables(done.summary))
    if head is not None:
        # On one line, to be copied.
        typer.echo(f"Head of its hash chain: {head}")


def _save_plot(done: Run, path: Path) -> None:
    from inferencesim.report.plots import plot_run, save

    say(f"picture: {save(plot_run(done), path)}")


@guarded
def validate(
    scenario: ScenarioArgument,
    overrides: SetOption = None,
    seed: SeedOption = None,
    variant: VariantOption = None,
    output: FormatOption = Format.TABLE,
    strict: Annotated[bool, typer.Option("--strict", help="A malformed trace row is an error.")] = False,
) -> None:
    """Check a scenario: keys, names, whether models fit, whether traces can be read, who may serve whom."""
    from inferencesim.scenario.loading import load_scenario

    loaded = load_scenario(scenario, overrides or (), seed, variant)

    import numpy as np

    from inferencesim.documents import document_digest
    from inferencesim.kernel.graph_tables import CALL
    from inferencesim.simulation.footprint import footprints
    from inferencesim.simulation.plan import make_plan
    from inferencesim.simulation.traits import class_means
    from inferencesim.simulation.unserved import unserved
    from inferencesim.workload.graphs import task_classes, unroll
    from inferencesim.workload.load import generate_load
    from inferencesim.workload.traces.record import MOST_NAMED

    plan = make_plan(loaded)
    load = generate_load(loaded.workload, loaded.horizon, loaded.seed, Path(), strict)
    graphs, load = unroll(loaded, load, strict)
    say_malformed(load.malformed)
    turned_away = unserved(plan, load, graphs)
    _warn(turned_away)
    sizes = footprints(plan, class_means(plan, load, graphs))
    calls = graphs.nodes["index"][graphs.nodes["kind"] == CALL]
    requests = np.bincount(np.concatenate([load.class_index, calls]), minlength=len(loaded.workload)).tolist()
    if output is Format.JSON:
        emit(
            {
                "valid": True,
                "name": loaded.name,
                "scenario_digest": document_digest(loaded),
                "pools": [
                    {
                        "name": pool.name,
                        "replicas": pool.replicas,
                        "chips": pool.replicas * pool.deployment.chips,
                        "kv_tokens_per_replica": pool.deployment.memory.kv_tokens,
                    }
                    for pool in plan.pools
                ],
                "tasks": {
                    name: int((graphs.tasks["class_index"] == index).sum())
                    for index, name in enumerate(task_classes(loaded))
                },
                "providers": [
                    {"name": each.name, "context_limit": each.context_limit, **each.price.model_dump()}
                    for each in plan.providers
                ],
                "requests": {each.name: n for each, n in zip(loaded.workload, requests, strict=True)},
                "classes": [
                    {"name": each.name, "like": each.like, "sensitivity": each.tags.sensitivity, **asdict(size)}
                    for each, size in zip(loaded.workload, sizes, strict=True)
                ],
                "malformed_trace_rows": len(load.malformed),
                "first_malformed_rows": [asdict(row) for row in load.malformed[:MOST_NAMED]],
                "trace_notes": [asdict(note) for note in load.trace_notes],
                "warnings": turned_away,
            }
        )
        return
    _show_plan(plan, loaded, requests, sizes)
    show(f"{note.file}: {note.text}." for note in load.trace_notes)


def _warn(warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        say(f"warning: {warning}.")


def _show_plan(plan: Plan, scenario: Scenario, requests: list[int], sizes: tuple[Footprint, ...]) -> None:
    from inferencesim.report.formats import count, information, seconds, significant, usd, watts
    from inferencesim.report.tables import new_table
    from inferencesim.scenario.arrivals import Closed

    pools = new_table(
        "Pools", "pool", "hardware", "model", "replicas (chips)", "KV tokens/replica", "USD/h", "idle", "peak", left=3
    )
    for pool in plan.pools:
        deployment = pool.deployment
        pools.add_row(
            pool.name, deployment.hardware.id, deployment.model.id,
            f"{pool.replicas:,} ({pool.replicas * deployment.chips:,})", count(deployment.memory.kv_tokens),
            usd(deployment.usd_per_s * 3600.0 * pool.replicas), watts(deployment.idle_w * pool.replicas),
            watts(deployment.peak_w * pool.replicas),
        )  # fmt: skip
    classes = new_table(
        "Classes, with the mean request's context, and its KV cache and time alone where it is fastest",
        "class", "latency", "arrivals", "requests", "tokens", "KV", "alone", "may run on", left=3,
    )  # fmt: skip
    classes.columns[-1].justify = "left"
    for index, (each, size) in enumerate(zip(scenario.workload, sizes, strict=True)):
        eligible = [name for name, code in zip(plan.candidates, plan.verdicts[index], strict=True) if code == 0]
        drawn = f"{each.arrivals.clients} clients" if isinstance(each.arrivals, Closed) else count(requests[index])
        classes.add_row(
            each.name, each.tags.sensitivity, each.arrivals.process, drawn, significant(size.context_tokens),
            information(size.kv_bytes), seconds(size.alone_s), ", ".join(eligible) or "nobody",
        )  # fmt: skip
    show([f"{scenario.name} is valid.", pools, *_planned_providers(plan), classes])


def _planned_providers(plan: Plan) -> list[Table]:
    """Return the table of a plan's providers; nothing without any."""
    from inferencesim.report.formats import count, usd
    from inferencesim.report.tables import new_table

    table = new_table(
        "Outside providers, USD per million tokens", "provider", "offer", "model", "tier", "prompt", "cached", "output",
        "context", left=4,
    )  # fmt: skip
    for each in plan.providers:
        prices = (each.usd_per_prompt_token, each.usd_per_cached_token, each.usd_per_output_token)
        table.add_row(
            each.name, "own price" if each.offer is None else each.offer.id, each.model.id, each.spec.tier,
            *(usd(price * 1e6) for price in prices), count(each.context_limit),
        )  # fmt: skip
    return [table] if plan.providers else []


@guarded
def show_run(run: RunArgument, output: FormatOption = Format.TABLE, plot: PlotOption = None) -> None:
    """Show the summary of a run."""
    from inferencesim.results.run import Run

    loaded = Run.load(run)
    if plot is not None:
        _save_plot(loaded, plot)
    _print_summary(loaded, output)


@guarded
def diff(
    a: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    b: Annotated[Path, typer.Argument(metavar="RUN", help="Another.")],
    output: FormatOption = Format.TABLE,
    everything: Annotated[bool, typer.Option("--all", help="Also what did not change.")] = False,
) -> None:
    """Compare two runs, number by number."""
    from inferencesim.results.difference import difference
    from inferencesim.results.run import Run

    found = difference(Run.load(a).summary, Run.load(b).summary, a_name=str(a), b_name=str(b))
    if output is Format.JSON:
        emit(found.model_dump(mode="json"))
        return
    from inferencesim.report.difference import difference_table

    show(difference_table(found, everything=everything))


@guarded
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="PNG", help="Where the picture goes.")] = RUNS / "demo.png",
    seed: SeedOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Play the same day of mixed work on four fleets and policies, side by side."""
    from inferencesim.cli.progress import RunProgress
    from inferencesim.report.plots import make_room, plot_comparison, save
    from inferencesim.scenario.loading import load_scenario, variant_names

    make_room(out)
    scenarios = [load_scenario(DEMO, seed=seed, variant=name) for name in variant_names(DEMO)]
    with RunProgress() as progress:
        from inferencesim.experiments.side_by_side import run_each

        runs = run_each(scenarios, progress=progress, on_run=lambda each: progress.label(each.variant or each.name))
    summaries = [one.summary for one in runs]

    from inferencesim.results.audit import broken_promises
    from inferencesim.simulation.plan import make_plan

    broken = [
        broken_promises(one.requests, make_plan(each), one.summary.window.end_s)
        for one, each in zip(runs, scenarios, strict=True)
    ]
    picture = save(plot_comparison(summaries, broken), out)
    if output is Format.JSON:
        emit({"schema": 1, "runs": [summary.model_dump(mode="json") for summary in summaries]})
    else:
        from inferencesim.report.side_by_side import broken_by_cause, side_by_side

        show([scenarios[0].question, *side_by_side(summaries), broken_by_cause(summaries, broken)])
    say(f"picture: {picture}")
