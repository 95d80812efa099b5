"""Commands that look at traces."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferencesim.cli.console import Format, FormatOption, emit, guarded, require_positive, say_malformed, show

if TYPE_CHECKING:
    from rich.table import Table

    from inferencesim.experiments.hit_rate import HitRate
    from inferencesim.workload.inspect import TraceReport
    from inferencesim.workload.task_traces.inspect import PerTask, TaskReport

trace = typer.Typer(no_args_is_help=True, help="Traces of real load.", rich_markup_mode=None)


@trace.callback()
def _traces() -> None:
    """Traces of real load."""


FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A trace as its publisher ships it.")]
ReaderOption = Annotated[str, typer.Option("--reader", help="The trace's format, if it is not recognised.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="A malformed row is an error.")]


@trace.command("inspect")
@guarded
def inspect(
    file: FileArgument,
    reader: ReaderOption = "auto",
    output: FormatOption = Format.TABLE,
    strict: StrictOption = False,
    start: Annotated[str, typer.Option("--from", help="Look from this time of the trace on, as in 2h.")] = "0s",
    length: Annotated[str, typer.Option("--length", help="Look at so much of it, as in 30min.")] = "",
) -> None:
    """Show rate, burstiness, lengths and prefix reuse of a trace, and a class fitted to it."""
    from inferencesim.units import to_si
    from inferencesim.workload.fitting import fit_class
    from inferencesim.workload.inspect import inspect_trace
    from inferencesim.workload.traces.reading import read_trace

    start_s = to_si(start, "time", "--from")
    end_s = start_s + to_si(length, "time", "--length") if length else math.inf
    read = read_trace(file, reader, strict, start_s=start_s, end_s=end_s, where="--reader")
    say_malformed(read.malformed)
    report, fitted = inspect_trace(read), fit_class(read)
    if output is Format.JSON:
        emit({"schema": 1, **_without_nan(dataclasses.asdict(report)), "fitted_class": fitted})
        return
    from rich.syntax import Syntax

    show([_report_table(report), "A class fitted to it:", Syntax(fitted, "yaml", background_color="default")])


@trace.command("tasks")
@guarded
def tasks(
    file: FileArgument,
    reader: ReaderOption = "auto",
    output: FormatOption = Format.TABLE,
    strict: StrictOption = False,
) -> None:
    """Show the graphs of a trace of tasks: calls and tools, how many after and beside each other, and how long."""
    from inferencesim.workload.task_traces.inspect import inspect_tasks
    from inferencesim.workload.task_traces.reading import read_tasks

    read = read_tasks(file, reader, strict, where="--reader")
    say_malformed(read.malformed)
    report = inspect_tasks(read)
    if output is Format.JSON:
        emit({"schema": 1, **dataclasses.asdict(report)})
        return
    show([_tasks_table(report)])


@trace.command("hit-rate")
@guarded
def hit_rate(
    file: FileArgument,
    capacity: Annotated[
        list[int] | None,
        typer.Option(
            "--capacity", metavar="BLOCKS", help="Size of the cache; may be repeated. Default: round numbers."
        ),
    ] = None,
    partial_blocks: Annotated[
        bool,
        typer.Option(
            "--partial-blocks",
            help="Cache a prompt's partial last block too, as published hit rates do; serving engines do not.",
        ),
    ] = False,
    reader: ReaderOption = "auto",
    output: FormatOption = Format.TABLE,
    strict: StrictOption = False,
) -> None:
    """Show which share of a trace's prompt tokens a prefix cache finds, by its size: the cache alone, no fleet."""
    for blocks in capacity or ():
        require_positive("--capacity", blocks)
    from inferencesim.experiments.hit_rate import hit_rates
    from inferencesim.workload.traces.reading import read_trace

    read = read_trace(file, reader, strict, where="--reader")
    say_malformed(read.malformed)
    rates = hit_rates(read, capacity or (), partial_blocks=partial_blocks)
    if output is Format.JSON:
        emit(
            {
                "schema": 1,
                "source": read.source,
                "format": read.format,
                "requests": len(read),
                "partial_blocks": partial_blocks,
                "hit_rates": [dataclasses.asdict(rate) for rate in rates],
            }
        )
        return
    show([_hit_rate_table(read.source, rates), *(f"note: {note}" for note in read.notes)])


def _tasks_table(report: TaskReport) -> Table:
    from inferencesim.report.formats import count, seconds
    from inferencesim.report.tables import new_table

    def spread(each: PerTask) -> str:
        return f"mean {each.mean:,.1f}, p50 {each.p50:,.0f}, p95 {each.p95:,.0f}, max {each.max:,.0f}"

    table = new_table(f"{report.source} ({report.format})", "", "", left=1)
    table.show_header = False
    rows = [
        ("tasks", count(report.tasks)),
        ("calls", count(report.calls)),
        ("tools", count(report.tools)),
        ("malformed rows left out", count(report.malformed)),
        ("failed calls left out", count(report.failed)),
        ("prompt tokens", count(report.prompt_tokens)),
        ("output tokens", count(report.output_tokens)),
        ("calls of a task", spread(report.calls_per_task)),
        ("calls one after another", spread(report.depth)),
        ("steps side by side", spread(report.width)),
    ]
    if report.duration_s is not None:
        times = report.duration_s
        quantiles = (("mean", times.mean), ("p50", times.p50), ("p95", times.p95), ("max", times.max))
        rows.append(("duration of a task", ", ".join(f"{name} {seconds(value)}" for name, value in quantiles)))
    for what, names in (("calls of", report.callers), ("tool", report.tool_names)):
        rows += [(f"{what} {name or 'nobody named'}", count(number)) for name, number in names.items()]
    for row in rows:
        table.add_row(*row)
    for note in report.notes:
        table.add_row("note", note)
    return table


def _hit_rate_table(source: str, rates: list[HitRate]) -> Table:
    from inferencesim.report.formats import count, share
    from inferencesim.report.tables import new_table

    table = new_table(f"Prefix cache of {source}", "capacity", "tokens", "prompt tokens found", "of the last half")
    for rate in rates:
        capacity = f"unlimited: {count(rate.blocks)} blocks" if rate.unlimited else f"{count(rate.blocks)} blocks"
        table.add_row(capacity, count(rate.tokens), share(rate.hit_rate), share(rate.hit_rate_last_half))
    return table


def _without_nan(value: object) -> dict[str, object]:
    """Return a report whose NaN have become null, which JSON has."""

    def clean(one: object) -> object:
        if isinstance(one, dict):
            return {key: clean(entry) for key, entry in one.items()}
        return None if isinstance(one, float) and math.isnan(one) else one

    assert isinstance(value, dict)
    return {key: clean(entry) for key, entry in value.items()}


def _report_table(report: TraceReport) -> Table:
    from inferencesim.report.formats import count, seconds, share, significant
    from inferencesim.report.tables import new_table

    def number(value: float) -> str:
        return significant(None if math.isnan(value) else value)

    table = new_table(f"{report.source} ({report.format})", "", "", left=1)
    table.show_header = False
    rows = [
        ("requests", count(report.rows)),
        ("malformed rows left out", count(report.malformed)),
        ("failed requests left out", count(report.failed)),
        ("span", seconds(report.span_s)),
        ("rate", f"{number(report.rate_per_s)}/s"),
        ("interarrival CV (Poisson: 1)", number(report.interarrival_cv)),
        ("dispersion of counts in 1 s (Poisson: 1)", number(report.dispersion_1s)),
        ("dispersion of counts in 10 s", number(report.dispersion_10s)),
        ("dispersion of counts in 60 s", number(report.dispersion_60s)),
        ("gaps that are zero", share(report.zero_gap_share)),
    ]
    for name, lengths in (("prompt tokens", report.prompt_tokens), ("output tokens", report.output_tokens)):
        text = f"mean {lengths.mean:,.0f}, p50 {lengths.p50:,.0f}, p95 {lengths.p95:,.0f}, p99 {lengths.p99:,.0f}"
        rows.append((name, f"{text}, max {lengths.max:,}"))
    rows.append(("correlation of prompt and output", number(report.correlation)))
    reuse = share(report.prefix_reuse_share) if report.prefix_reuse_share is not None else "no hashes"
    rows.append(("prompt tokens an unlimited prefix cache holds", reuse))
    for row in rows:
        table.add_row(*row)
    for note in report.notes:
        table.add_row("note", note)
    return table
