"""Reading a trace of any registered format."""

from __future__ import annotations

import lzma
import math
import zlib
from typing import TYPE_CHECKING, Protocol

from inferencesim.errors import InputError
from inferencesim.registry import Registry
from inferencesim.workload.traces.azure import AzureReader
from inferencesim.workload.traces.burstgpt import BurstGPTReader
from inferencesim.workload.traces.mooncake import MooncakeReader
from inferencesim.workload.traces.ragpulse import RAGPulseReader
from inferencesim.workload.traces.record import ReadOptions, Trace, require_trace
from inferencesim.workload.traces.servegen import ServeGenReader
from inferencesim.workload.traces.vtc import VTCReader
from inferencesim.workload.traces.weka import WekaReader

if TYPE_CHECKING:
    from pathlib import Path


class TraceReader(Protocol):
    """What reads one format."""

    def sniff(self, path: Path) -> bool:
        """Say, quickly and without an error, whether `path` looks like this format."""

    def read(self, path: Path, options: ReadOptions) -> Trace:
        """Read all usable rows in the window of `options`, counting the malformed ones."""


#: Trace readers by the name of their format.
READERS: Registry[TraceReader] = Registry("trace format", "inferencesim.trace_readers")
READERS.register("azure")(AzureReader())
READERS.register("burstgpt")(BurstGPTReader())
READERS.register("mooncake")(MooncakeReader())
READERS.register("ragpulse")(RAGPulseReader())
READERS.register("servegen")(ServeGenReader())
READERS.register("vtc")(VTCReader())
READERS.register("weka")(WekaReader())


def read_trace(
    path: Path,
    format: str = "auto",
    strict: bool = False,
    seed: int = 0,
    *,
    start_s: float = 0.0,
    end_s: float = math.inf,
    where: str = "format",
) -> Trace:
    """Read a trace.

    Parameters
    ----------
    path : Path
        File or folder.
    format : str
        Id of a reader, or ``auto`` to recognise it.
    strict : bool
        Raise the first malformed row instead of counting it.
    seed : int
        For formats that describe a load rather than list it (servegen).
    start_s, end_s : float
        Window in the trace's own time, in seconds; reading stops after it.
    where : str
        Place named if the format is unknown.

    Returns
    -------
    Trace

    Raises
    ------
    InputError
        If there is no such file, its format is not recognised, it is damaged,
        it has no usable row, or (strict) at the first malformed row.
    """
    require_trace(path)
    name = recognise(path) if format == "auto" else format
    reader = READERS.get(name, where)
    try:
        return reader.read(path, ReadOptions(strict=strict, seed=seed, start_s=start_s, end_s=end_s))
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as problem:
        raise InputError(str(path), f"the trace cannot be read ({problem})", "Fetch the file again.") from problem


def recognise(path: Path) -> str:
    """Return the id of the first reader, in alphabetical order, that recognises `path`.

    Raises
    ------
    InputError
        If none does.
    """
    for name in READERS.names():
        if READERS.get(name, "format").sniff(path):
            return name
    known = ", ".join(READERS.names())
    remedy = f"Name its format; known: {known}. Recorded tasks are for 'trace tasks', and 'tasks' to replay."
    raise InputError(str(path), "no reader recognises this trace", remedy)
