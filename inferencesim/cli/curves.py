"""Commands that guard a policy: its cost curve, recorded as a file and played again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from inferencesim.cli.simulating import (  # noqa: TC001 - typer reads them
    ScenarioArgument,
    SeedOption,
    SetOption,
    VariantOption,
)
from inferencesim.errors import InputError

if TYPE_CHECKING:
    from inferencesim.experiments.curves import Curve
    from inferencesim.results.curve_check import CurveCheck

curves = typer.Typer(
    name="curves", help="Guard a policy: record what it costs and keeps against load, and check it.",
    no_args_is_help=True, rich_markup_mode=None,
)  # fmt: skip

FilesArgument = Annotated[list[str], typer.Argument(metavar="FILE", help="Files that `curves record` wrote.")]


@curves.command("record")
@guarded
def record(
    scenario: ScenarioArgument,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Where the curve goes, as in curves/NAME.yaml.")],
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="ID", help="Placement policy; default the scenario's own.")
    ] = None,
    balancing: Annotated[
        str | None, typer.Option("--balancing", metavar="ID", help="Balancing policy; default the scenario's own.")
    ] = None,
    load: Annotated[
        str, typer.Option("--load", metavar="LIST", help="Factors on all arrival rates.")
    ] = "0.5,0.7,0.85,0.95,1",
    replications: Annotated[int, typer.Option("--replications", metavar="N", help="Of each load.")] = 16,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="PATH", help="Guard this too, as in classes.chat.slo_attainment; repeatable."),
    ] = None,
    false_alarm_rate: Annotated[
        str, typer.Option("--false-alarm-rate", metavar="SHARE", help="Of a check, over the whole curve.")
    ] = "1%",
    overrides: SetOption = None,
    seed: SeedOption = None,
    variant: VariantOption = None,
    jobs: JobsOption = None,
    output: FormatOption = Format.TABLE,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Play a scenario at several loads and record what its policy costs and keeps."""
    from inferencesim.report.plots import make_room
    from inferencesim.units import to_si

    at_once = processes(jobs)
    rate = to_si(false_alarm_rate, "fraction", "--false-alarm-rate")
    loads = _factors(load)
    make_room(Path(out))
    require_writable(out, force)

    from inferencesim.cli.progress import RunProgress

    with RunProgress() as progress:
        from inferencesim.experiments.curves import Curve

        progress.label("recording")
        found = Curve.record(
            scenario,
            policy=policy,
            balancing=balancing,
            loads=loads,
            replications=replications,
            metrics=metrics or (),
            false_alarm_rate=rate,
            seed=seed,
            variant=variant,
            overrides=overrides or (),
            jobs=at_once,
            progress=progress,
        ).save(out)
    _show_recorded(found, output)
    say(f"wrote {out}")


@curves.command("update")
@guarded
def update(files: FilesArgument, jobs: JobsOption = None) -> None:
    """Record curves again, each by what its file says: after a change that is wanted, or of the scenario."""
    at_once = processes(jobs)
    from inferencesim.cli.progress import RunProgress

    with RunProgress() as progress:
        from inferencesim.experiments.curves import Curve

        for each in [Curve.load(file) for file in files]:
            progress.label(str(each.path))
            each.again(jobs=at_once, progress=progress).save(str(each.path))
            say(f"wrote {each.path}")


@curves.command("check")
@guarded
def check(
    files: FilesArgument,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="REV", help="With what this git revision gives on the same random numbers."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="FILE", help="With what the version of this interpreter gives on them."),
    ] = None,
    fresh_seeds: Annotated[
        bool, typer.Option("--fresh-seeds", help="On other random numbers than those of the recording.")
    ] = False,
    jobs: JobsOption = None,
    output: FormatOption = Format.TABLE,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Also write it for a pull request.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Also plot old and new.")] = None,
) -> None:
    """Play curves again; exit with 3 where one has changed by more than chance and by more than its limit."""
    from inferencesim.report.plots import make_room

    at_once = processes(jobs)
    for path in (markdown, plot):
        if path is not None:
            make_room(path)

    from inferencesim.cli.progress import RunProgress

    with RunProgress() as progress:
        from inferencesim.experiments.curves import Curve

        found = []
        for each in [Curve.load(file) for file in files]:
            progress.label(str(each.path))
            found.append(
                each.check(fresh_seeds=fresh_seeds, against=against, python=python, jobs=at_once, progress=progress)
            )
    _show_checks(found, output, markdown, plot)
    if not all(each.passed for each in found):
        raise typer.Exit(EXIT_FOUND)


def _factors(listed: str) -> list[float]:
    try:
        return [float(part) for part in listed.split(",") if part.strip()]
    except ValueError:
        raise InputError("--load", f"{listed!r} is no list of numbers", "Write --load 0.5,0.85,1.") from None


def _show_recorded(found: Curve, output: Format) -> None:
    if output is Format.JSON:
        emit(found.recorded.model_dump(mode="json"))
        return
    from inferencesim.report.curves import curve_parts

    show(curve_parts(found.recorded))


def _show_checks(found: list[CurveCheck], output: Format, markdown: Path | None, plot: Path | None) -> None:
    from inferencesim.report.curves import check_parts, check_text, plot_checks

    if output is Format.JSON:
        emit({"schema": 1, "checks": [each.model_dump(mode="json") for each in found]})
    else:
        show(part for each in found for part in check_parts(each))
    if markdown is not None:
        write_text(str(markdown), "\n".join(check_text(each) for each in found), force=True)
    if plot is not None:
        from inferencesim.report.plots import save

        say(f"picture: {save(plot_checks(found), plot)}")
