"""RAGPulse (flashserve/RAGPulse, MIT) as tasks: what one session asked.

The fields are those of :mod:`inferencesim.workload.traces.ragpulse`, which reads
the same file as single requests. Requests have starts and no ends, so that such
a trace can only be played as started.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

from inferencesim.workload.task_traces.spans import Span, Tasks
from inferencesim.workload.traces.ragpulse import RAGPulseReader

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.workload.task_traces.spans import TaskTrace
    from inferencesim.workload.traces.record import ReadOptions


class RAGPulseTaskReader:
    """Reads the published file of requests, also packed."""

    def sniff(self, path: Path) -> bool:
        """Say whether the first line is a request whose prompt has parts."""
        return RAGPulseReader().sniff(path)

    def read(self, path: Path, options: ReadOptions) -> TaskTrace:
        """Read the file; see :func:`inferencesim.workload.task_traces.reading.read_tasks`."""
        # Tasks begin in the window, whose later requests may come after it.
        requests = RAGPulseReader().read(path, replace(options, start_s=0.0, end_s=math.inf))
        tasks, sessions = Tasks(path, options), dict[int, Span]()
        for row, at_s in enumerate(requests.time_s.tolist()):
            call = Span("call", at_s, at_s)
            call.prompt_tokens, call.output_tokens = int(requests.prompt_tokens[row]), int(requests.output_tokens[row])
            if requests.blocks is not None:
                begin, end = requests.blocks.offsets[row : row + 2]
                call.blocks = array("q", requests.blocks.values[begin:end].tobytes())
            sessions.setdefault(int(requests.session[row]), Span("group", at_s, at_s)).children.append(call)
        for root in sessions.values():
            tasks.add(root)
        block_size = None if requests.blocks is None else requests.blocks.block_size
        trace = tasks.trace("ragpulse", times=("started",), block_size=block_size, notes=requests.notes)
        return replace(trace, malformed=requests.malformed)
