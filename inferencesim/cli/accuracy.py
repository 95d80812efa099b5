"""The command that holds predictions against measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferencesim.cli.console import (
    Format,
    FormatOption,
    JobsOption,
    emit,
    guarded,
    processes,
    require_positive,
    say,
    show,
    write_text,
)
from inferencesim.errors import InputError

if TYPE_CHECKING:
    from inferencesim.measurements.measurement import Readings
    from inferencesim.results.accuracy import AccuracyReport, Column

#: Where the shared measurements lie beside a checkout.
_SHARED = Path("shared") / "measurements"


@guarded
def accuracy(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="PATH", help="A folder or file of measurements; default ../shared/measurements."
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", help="Only so many of them, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample.")] = 0,
    group: Annotated[
        str,
        typer.Option("--group", metavar="COLUMNS", help="What a group has in common; also: precision, load."),
    ] = "source,hardware,engine,model",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="COLUMN=VALUE", help="Only such rows, as in engine=vllm; repeatable."),
    ] = None,
    no_calibration: Annotated[
        bool, typer.Option("--no-calibration", help="Predict from datasheets and class priors alone.")
    ] = False,
    jobs: JobsOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="Also plot predicted against measured.")
    ] = None,
    series: Annotated[
        Path | None,
        typer.Option("--plot-series", metavar="PNG", help="Also plot engines over time, recorded and simulated."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the JSON document to a file.")
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Simulate real measurements and show how far off the predictions are."""
    require_positive("--sample", sample)
    at_once = processes(jobs)
    from inferencesim.cli.progress import RunProgress
    from inferencesim.deployment.calibration import NO_CALIBRATION, SHIPPED
    from inferencesim.experiments.accuracy import group_columns, measure_accuracy, plan_work
    from inferencesim.report.plots import make_room

    by = group_columns(name.strip() for name in group.split(","))
    wanted = _wanted(only or [])
    place = data if data is not None else _shared_measurements()
    calibration = NO_CALIBRATION if no_calibration else SHIPPED
    work = plan_work(_read(place), calibration=calibration, only=wanted, sample=sample, seed=seed)
    for file in (plot, series, json_file):
        if file is not None:
            make_room(file)
    with RunProgress() as progress:
        progress.label(f"simulating {len(work.reproductions):,} measurements")
        report = measure_accuracy(
            work, data=str(place), calibration=calibration, by=by, jobs=at_once, progress=progress
        )
    _write(report, plot, series, json_file)
    if output is Format.JSON:
        emit(report.model_dump(mode="json"))
        return
    from inferencesim.report.accuracy import accuracy_tables

    show(accuracy_tables(report))


def _write(report: AccuracyReport, plot: Path | None, series: Path | None, json_file: Path | None) -> None:
    if plot is not None:
        from inferencesim.report.accuracy import plot_accuracy
        from inferencesim.report.plots import save

        say(f"picture: {save(plot_accuracy(report), plot)}")
    if json_file is not None:
        write_text(str(json_file), report.model_dump_json(indent=2) + "\n", force=True)
    if series is not None:
        from inferencesim.report.engine_series import plot_series
        from inferencesim.report.plots import save

        say(f"picture: {save(plot_series(report.rows), series)}")


def _shared_measurements() -> Path:
    """Return the measurements beside the current folder, or beside the checkout."""
    import inferencesim

    folders = (Path(".."), Path(), Path(inferencesim.__file__).parents[2])
    for folder in folders:
        if (folder / _SHARED).is_dir():
            return folder / _SHARED
    raise InputError(
        "--data",
        f"there are no measurements at ../{_SHARED}",
        "Name a folder or a file of measurements: our own CSV, or results of vLLM bench serve, GuideLLM or AIPerf.",
    )


def _read(place: Path) -> Readings:
    from inferencesim.measurements.reading import read_folder, read_measurements

    return read_measurements(place) if place.is_file() else read_folder(place, traces=True)


def _wanted(only: list[str]) -> dict[Column, str]:
    from inferencesim.experiments.accuracy import group_columns

    wanted: dict[Column, str] = {}
    for entry in only:
        name, sign, value = entry.partition("=")
        if not sign:
            raise InputError("--only", f"{entry!r} is not COLUMN=VALUE", "Write, for example, --only engine=vllm.")
        (column,) = group_columns([name.strip()], "--only")
        wanted[column] = value.strip()
    return wanted
