"""The command that fits a chip and an engine to measurements."""

# ruff: noqa: TC003 - typer reads the annotations at run time

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
    require_writable,
    show,
    write_text,
)

if TYPE_CHECKING:
    from inferencesim.measurements.defaults import Defaults
    from inferencesim.measurements.measurement import Readings


def _fact(name: str, text: str) -> typer.models.OptionInfo:
    """Return an option for what the files may not say."""
    option: typer.models.OptionInfo = typer.Option(f"--{name}", help=text, show_default=False)
    return option


@guarded
def calibrate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="MEASUREMENTS...",
            help="Files or folders: our own CSV, or results of vLLM bench serve, GuideLLM or AIPerf.",
        ),
    ],
    hardware: Annotated[str, typer.Option("--hardware", metavar="ID|FILE", help="The chip: an id, or a profile.")],
    engine: Annotated[str, typer.Option("--engine", metavar="ID", help="The engine, as in vllm.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="Where the calibration goes; - is stdout.")] = "-",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    source: Annotated[
        str, typer.Option("--source", metavar="TEXT", help="Where the measurements are from; default the file names.")
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="Of the folds of the cross-validation.")] = 0,
    jobs: JobsOption = None,
    output: FormatOption = Format.TABLE,
    model: Annotated[str, _fact("model", "A model, or its checkpoint's name.")] = "",
    weights: Annotated[str, _fact("weights", "Their number format, as in fp8.")] = "",
    activations: Annotated[str, _fact("activations", "Default that of the weights; bf16 with int4 and int8.")] = "",
    kv: Annotated[str, _fact("kv", "Of the KV cache; default bf16.")] = "",
    expert_weights: Annotated[str, _fact("expert-weights", "Where they differ from the others.")] = "",
    expert_activations: Annotated[str, _fact("expert-activations", "Likewise.")] = "",
    tensor: Annotated[int, _fact("tensor", "Chips of one pipeline stage.")] = 0,
    pipeline: Annotated[int, _fact("pipeline", "Stages; default 1.")] = 0,
    expert: Annotated[int, _fact("expert", "Groups of experts; default 1.")] = 0,
    attention_data: Annotated[int, _fact("attention-data", "Attention ranks; default 1.")] = 0,
    replicas: Annotated[int, _fact("replicas", "Copies behind one balancer; default 1.")] = 0,
    engine_version: Annotated[str, _fact("engine-version", "As the engine reports it.")] = "",
    concurrency: Annotated[int, _fact("concurrency", "Clients, for a file that does not state its load.")] = 0,
) -> None:
    """Fit efficiencies and overheads of a chip with an engine to measurements, and say how well they do.

    The options from --model on give what the files do not say themselves.
    """
    at_once = processes(jobs)
    from inferencesim.cli.progress import RunProgress
    from inferencesim.deployment.engine import load_engine
    from inferencesim.hardware.catalog import load_profile
    from inferencesim.measurements.defaults import Defaults

    load_profile(hardware, "--hardware")
    load_engine(engine, "--engine")
    require_writable(out, force)
    readings = _read(
        files,
        Defaults(
            hardware=hardware,
            model=model,
            engine=engine,
            engine_version=engine_version,
            weights=weights,
            activations=activations,
            kv=kv,
            expert_weights=expert_weights,
            expert_activations=expert_activations,
            tensor=tensor,
            pipeline=pipeline,
            expert=expert,
            attention_data=attention_data,
            replicas=replicas,
            concurrency=concurrency,
        ),
    )
    with RunProgress() as progress:
        from inferencesim.experiments.calibrate import calibrate as fit

        def fitted(done: float, fits: float) -> None:
            progress.label(f"fitting: {done:.0f} of {fits:.0f} fits done")
            progress(done, fits)

        calibrated = fit(
            readings.measurements,
            hardware,
            engine,
            source=source or ", ".join(path.name for path in files),
            refused=readings.unsupported,
            seed=seed,
            jobs=at_once,
            progress=fitted,
        )
    from inferencesim.report.calibration import calibration_tables
    from inferencesim.results.calibration import calibration_text

    # Stdout carries one document: the JSON, else the file, else the tables.
    if output is Format.JSON:
        emit(calibrated.model_dump(mode="json"))
    else:
        show(calibration_tables(calibrated), err=out == "-")
    if out != "-" or output is not Format.JSON:
        write_text(out, calibration_text(calibrated.calibration), force)


def _read(files: list[Path], defaults: Defaults) -> Readings:
    from inferencesim.measurements.measurement import Readings
    from inferencesim.measurements.reading import read_folder, read_measurements

    return Readings.together((read_folder if path.is_dir() else read_measurements)(path, defaults) for path in files)
