"""A run to work with: its tables as DataFrames, its summary, its manifest."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from inferencesim.errors import InputError
from inferencesim.results.run_folder import read_manifest, read_summary, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import pyarrow as pa

    from inferencesim.results.manifest import Manifest
    from inferencesim.results.records.summary import Summary
    from inferencesim.scenario.scenario import Evidence
    from inferencesim.workload.traces.record import MalformedRow


class Run:
    """What a simulation left behind, in a folder or in memory.

    Attributes
    ----------
    manifest : Manifest
    path : Path or None
        The run folder; None in memory.
    malformed : tuple of MalformedRow
        Trace rows left out; empty for a run read from a folder, whose summary has their number and the first of them.
    unserved : tuple of str
        What was known before it began of classes that are turned away; empty for a run read from a folder.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        path: Path | None = None,
        tables: Mapping[str, pa.Table] | None = None,
        summary: Summary | None = None,
        malformed: tuple[MalformedRow, ...] = (),
        unserved: tuple[str, ...] = (),
    ) -> None:
        self.manifest = manifest
        self.path = path
        self.malformed = malformed
        self.unserved = unserved
        self._tables = tables
        self._summary = summary

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Open a run folder; tables are read when they are asked for.

        Raises
        ------
        InputError
            If it is none.
        """
        return cls(read_manifest(Path(path)), path=Path(path))

    def __repr__(self) -> str:
        where = self.path or "in memory"
        return f"<Run {self.manifest.name!r} seed {self.manifest.seed} ({self.manifest.status}, {where})>"

    @property
    def complete(self) -> bool:
        """Whether the simulation came to its end."""
        return self.manifest.status == "complete"

    @property
    def evidence(self) -> Evidence:
        """Of which requests the rows were kept."""
        evidence: Evidence = self.manifest.scenario["recording"].get("evidence", "full")
        return evidence

    @property
    def summary(self) -> Summary:
        """The summary.

        Raises
        ------
        InputError
            If the run is incomplete.
        """
        if self._summary is None:
            if self.path is None:
                raise InputError(self.manifest.name, "the run is incomplete and has no summary")
            self._summary = read_summary(self.path)
        return self._summary

    @functools.cached_property
    def requests(self) -> pd.DataFrame:
        """One row per request that was kept, with hardware, model and precision of who served it."""
        import pandas as pd

        frame = self._frame("requests")
        profiles = self.manifest.profiles
        if "pool" in frame:
            outside = self.manifest.providers
            served = frame["pool"].astype(object).fillna(frame["provider"].astype(object))
            for column in ("hardware", "model", "precision"):
                names = {profile.pool: getattr(profile, column) for profile in profiles}
                names |= {each.provider: getattr(each, column, None) for each in outside}
                frame[column] = pd.Categorical(served.map(names))
        return frame

    @functools.cached_property
    def decisions(self) -> pd.DataFrame:
        """One row per placement decision that was kept: verdict and score of every pool, and the choice."""
        return self._frame("decisions")

    @functools.cached_property
    def tasks(self) -> pd.DataFrame:
        """One row per task: outcome, latency, calls, tools, tokens and cost."""
        return self._frame("tasks")

    @functools.cached_property
    def steps(self) -> pd.DataFrame:
        """One row per step of every task, in order: when it was due, began and ended, and how."""
        return self._frame("steps")

    @functools.cached_property
    def series(self) -> pd.DataFrame:
        """Queue, running, KV, utilisation and power over time, one row per sample and pool."""
        return self._frame("series")

    def recorded(self, name: str) -> pd.DataFrame | None:
        """Return a table as it was written, or None if nothing was."""
        if self.path is not None:
            table = read_table(self.path, name)
        else:
            table = None if self._tables is None else self._tables.get(name)
        return None if table is None else table.to_pandas()

    def _frame(self, name: str) -> pd.DataFrame:
        import pandas as pd

        frame = self.recorded(name)
        if frame is not None:
            return frame
        if name != "series" and self.evidence == "off":
            remedy = "Set recording.evidence to full or sampled and run again."
            raise InputError("recording.evidence", f"it was off, and the run kept no {name}", remedy)
        return pd.DataFrame()
