"""Reading measurements of any known format; what is in a file tells which, not its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from inferencesim.errors import InputError
from inferencesim.measurements import published, silicon
from inferencesim.measurements.aiperf import AiPerf
from inferencesim.measurements.contents import Contents, look_into
from inferencesim.measurements.defaults import Defaults
from inferencesim.measurements.guidellm import GuideLlm
from inferencesim.measurements.measurement import Readings
from inferencesim.measurements.own_csv import OwnCsv
from inferencesim.measurements.request_traces import read_request_traces
from inferencesim.measurements.vllm_bench import VllmBench

if TYPE_CHECKING:
    from pathlib import Path


class MeasurementReader(Protocol):
    """What reads one format."""

    def sniff(self, contents: Contents) -> bool:
        """Say, without an error, whether the file is of this format."""

    def read(self, contents: Contents, defaults: Defaults) -> Readings:
        """Read all of it, taking what it does not say about the setup from `defaults`."""


class _Silicon:
    """The table of :mod:`inferencesim.measurements.silicon`, which says everything itself."""

    def sniff(self, contents: Contents) -> bool:
        return set(silicon.COLUMNS) <= set(contents.columns)

    def read(self, contents: Contents, defaults: Defaults) -> Readings:  # noqa: ARG002
        return silicon.read_silicon(contents.path)


class _Published:
    """The table of :mod:`inferencesim.measurements.published`, which says everything itself."""

    def sniff(self, contents: Contents) -> bool:
        return set(published.COLUMNS) <= set(contents.columns)

    def read(self, contents: Contents, defaults: Defaults) -> Readings:  # noqa: ARG002
        return published.read_published(contents.path)


#: Readers by the name of their format, in the order in which they are asked.
READERS: dict[str, MeasurementReader] = {
    "silicon": _Silicon(),
    "published": _Published(),
    "AIPerf": AiPerf(),
    "GuideLLM": GuideLlm(),
    "vLLM bench serve": VllmBench(),
    "own CSV": OwnCsv(),
}
_SUFFIXES = (".csv", ".json", ".jsonl")


def read_measurements(path: Path, defaults: Defaults | None = None) -> Readings:
    """Read a file of measurements.

    Parameters
    ----------
    path : Path
    defaults : Defaults, optional
        What the file may not say: chip, model, engine, number formats, parallelism. What it says itself prevails.

    Raises
    ------
    InputError
        If the file cannot be read, is of no known format, has a bad cell, or leaves open what is not in `defaults`.
    """
    contents = look_into(path)
    reader = _reader(contents)
    if reader is None:
        remedy = f"Known formats: {', '.join(READERS)}."
        raise InputError(str(path), "no reader recognises these measurements", remedy)
    return reader.read(contents, defaults or Defaults())


def read_folder(folder: Path, defaults: Defaults | None = None, *, traces: bool = False) -> Readings:
    """Read every file of measurements that lies directly in `folder`, in alphabetical order; others are passed over.

    Parameters
    ----------
    folder : Path
    defaults : Defaults, optional
        As for :func:`read_measurements`.
    traces : bool
        Whether the request traces in and below it are read too.

    Raises
    ------
    InputError
        If there is no such folder, no file of it is recognised, or a recognised one is bad.
    """
    if not folder.is_dir():
        raise InputError(str(folder), "there is no such folder", "Give a folder of measurement files.")
    parts = []
    for path in sorted(folder.iterdir()):
        if path.suffix not in _SUFFIXES or not path.is_file():
            continue
        contents = look_into(path)
        reader = _reader(contents)
        if reader is not None:
            parts.append(reader.read(contents, defaults or Defaults()))
    if traces:
        parts += read_request_traces(folder)
    if not parts:
        remedy = f"Known formats: {', '.join(READERS)}."
        raise InputError(str(folder), "no file in it is recognised as measurements", remedy)
    return Readings.together(parts)


def _reader(contents: Contents) -> MeasurementReader | None:
    return next((reader for reader in READERS.values() if reader.sniff(contents)), None)
