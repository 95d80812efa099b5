"""What an engine told of itself while a request trace was recorded: requests running and waiting, and KV in use.

``timeseries.csv`` beside the requests has a line per moment: seconds ``t`` since the recording began (``started_at``
of ``meta.json``), requests ``running`` and ``waiting``, and ``kv_cache_pct``, the share of KV blocks that requests
hold; where that was not recorded it is zero throughout.

How many of those waiting had lost their KV is not recorded, but follows: all that had been scheduled once
(``scheduled_ts``; vLLM leaves it as it is when a request is scheduled again) and had not given their last token, less
those that run. Counts are of the engine's last step, so one or two requests may be on the wrong side of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from inferencesim.errors import InputError
from inferencesim.measurements.cells import read_rows
from inferencesim.measurements.contents import figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: Requests running; waiting, for the first time or again; of these, those that were preempted; share of KV blocks held.
SeriesName = Literal["running", "waiting", "preempted", "kv_usage"]

_FILE = "timeseries.csv"
_KV = "kv_cache_pct"
_COLUMNS = ("t", "running", "waiting", _KV)


@dataclass(frozen=True, eq=False)
class EngineSeries:
    """The state of an engine at regular moments.

    Attributes
    ----------
    moments_s : ndarray of float64
        Seconds since the recording began, rising.
    first_queued_s : float
        When the first request came into the engine's queue, on the same clock.
    values : dict of SeriesName to ndarray of float64
        What was recorded, or follows; each as long as `moments_s`.
    """

    moments_s: NDArray[np.float64]
    first_queued_s: float
    values: dict[SeriesName, NDArray[np.float64]]


def read_series(place: Path, meta: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> EngineSeries | None:
    """Return the series in the folder of a request trace; nothing if there is none.

    Parameters
    ----------
    place : Path
    meta : mapping
        Its ``meta.json``.
    requests : sequence of mappings
        Its ``requests.jsonl``.

    Raises
    ------
    InputError
        If a cell is not the number it should be, or the moments do not rise.
    """
    path = place / _FILE
    if not path.is_file():
        return None
    rows = read_rows(path, _COLUMNS)
    table = {name: np.array([row.number(name) or 0.0 for row in rows]) for name in _COLUMNS}
    moments_s = table["t"]
    if moments_s.size == 0 or not (np.diff(moments_s, prepend=0.0) > 0.0).all():
        raise InputError(f"{path}, column t", "the moments do not rise from zero", "Export the run again.")
    first_queued_s = _first_queued(meta, requests)
    values: dict[SeriesName, NDArray[np.float64]] = {name: table[name] for name in ("running", "waiting")}
    if table[_KV].any():
        scheduled, left, queued = (_times(requests, name) for name in ("scheduled_ts", "last_token_ts", "queued_ts"))
        if not np.isnan(scheduled).any():
            since = moments_s - first_queued_s + queued.min()
            values["preempted"] = preempted_at(since, scheduled, left, values["running"])
        values["kv_usage"] = table[_KV] / 100.0
    return EngineSeries(moments_s, first_queued_s, values)


def preempted_at(
    moments_s: NDArray[np.float64],
    scheduled_s: NDArray[np.float64],
    left_s: NDArray[np.float64],
    running: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how many requests wait again: they had been scheduled, have not left, and do not run."""
    begun, done = (np.searchsorted(np.sort(each), moments_s, side="right") for each in (scheduled_s, left_s))
    return np.maximum(begun - done - running, 0.0)


def _first_queued(meta: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> float:
    """Return from the clock on the wall when the first request came; 0 where it was not recorded."""
    arrived = [float(each["arrival_time"]) for each in requests if "arrival_time" in each]
    if "started_at" not in meta or not arrived:
        return 0.0
    return max(0.0, min(arrived) - datetime.fromisoformat(str(meta["started_at"])).timestamp())


def _times(requests: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([figure(each, name) or np.nan for each in requests])
