"""Reading a trace of tasks of any registered format."""

from __future__ import annotations

import lzma
import math
import zlib
from typing import TYPE_CHECKING, Protocol

from inferencesim.errors import InputError
from inferencesim.registry import Registry
from inferencesim.workload.task_traces.dynamo import DynamoReader
from inferencesim.workload.task_traces.otel import OtelReader
from inferencesim.workload.task_traces.ragpulse import RAGPulseTaskReader
from inferencesim.workload.task_traces.rounds import TraceLabRoundsReader
from inferencesim.workload.task_traces.sessions import LMCacheReader, TraceLabReader
from inferencesim.workload.task_traces.weka import WekaTaskReader
from inferencesim.workload.traces.record import ReadOptions, require_trace

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.task_traces.spans import TaskTrace


class TaskReader(Protocol):
    """What reads one format."""

    def sniff(self, path: Path) -> bool:
        """Say, quickly and without an error, whether `path` looks like this format."""

    def read(self, path: Path, options: ReadOptions) -> TaskTrace:
        """Read all usable tasks that begin in the window of `options`, counting the malformed rows."""


#: Readers of tasks by the name of their format.
TASK_READERS: Registry[TaskReader] = Registry("format of task traces", "inferencesim.task_readers")
TASK_READERS.register("dynamo")(DynamoReader())
TASK_READERS.register("lmcache")(LMCacheReader())
TASK_READERS.register("otel")(OtelReader())
TASK_READERS.register("ragpulse")(RAGPulseTaskReader())
TASK_READERS.register("tracelab")(TraceLabReader())
TASK_READERS.register("tracelab_rounds")(TraceLabRoundsReader())
TASK_READERS.register("weka")(WekaTaskReader())


def read_tasks(
    path: Path,
    format: str = "auto",
    strict: bool = False,
    *,
    start_s: float = 0.0,
    end_s: float = math.inf,
    where: str = "format",
) -> TaskTrace:
    """Read a trace of tasks.

    Parameters
    ----------
    path : Path
    format : str
        Id of a reader, or ``auto`` to recognise it.
    strict : bool
        Raise the first malformed row instead of counting it.
    start_s, end_s : float
        Window in which tasks begin, in the trace's own time.
    where : str
        Place named if the format is unknown.

    Raises
    ------
    InputError
        If there is no such file, its format is not recognised, it is damaged,
        it has no usable task, or (strict) at the first malformed row.
    """
    require_trace(path)
    reader = TASK_READERS.get(recognise_tasks(path) if format == "auto" else format, where)
    try:
        return reader.read(path, ReadOptions(strict=strict, start_s=start_s, end_s=end_s))
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as problem:
        raise InputError(str(path), f"the trace cannot be read ({problem})", "Fetch the file again.") from problem


def recognise_tasks(path: Path) -> str:
    """Return the id of the first reader, in alphabetical order, that recognises `path`.

    Raises
    ------
    InputError
        If none does.
    """
    for name in TASK_READERS.names():
        if TASK_READERS.get(name, "format").sniff(path):
            return name
    known = ", ".join(TASK_READERS.names())
    remedy = f"Name its format; known: {known}. Single requests are for 'trace inspect', and 'workload' to replay."
    raise InputError(str(path), "no reader of tasks recognises this trace", remedy)
