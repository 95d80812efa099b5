"""A sweep: the figures of one scenario at many settings of its parameters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    import pandas as pd

#: What became of a trial: the verdict of its run; ``failed`` where the scenario cannot be simulated; ``crashed`` in an
#: unexpected error, ``killed`` with every process that tried it.
State = Literal["stable", "unstable", "shedding", "empty", "failed", "crashed", "killed"]

#: States of trials that another attempt may end otherwise: no sweep keeps them.
NOT_KEPT: tuple[State, ...] = ("crashed", "killed")

#: States of trials that were not simulated to their end.
WITHOUT_FIGURES: tuple[State, ...] = ("failed", *NOT_KEPT)

#: Columns of a sweep's table beside parameters and figures.
_ABOUT_A_TRIAL = ("replication", "seed", "state", "why", "key")

#: What a parameter may be set to: anything YAML can say.
Setting = Any


class TrialResult(Record):
    """What one simulation showed: the content of a file in a sweep's folder, and named by its key.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    key : str
        Of all that decides the figures, see :mod:`inferencesim.results.fingerprint`.
    state : str
    why : str
        The verdict's reason, or that of the failure.
    figures : dict of str to float or None
        All numbers of the summary, by path: ``ttft_s.p99``, ``pools.premium.utilisation``.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    key: str
    state: State
    why: str
    figures: dict[str, float | None] = Field(default_factory=dict)


class SweptAxis(Record):
    """One parameter that a sweep varies.

    Attributes
    ----------
    path : str
        As ``--set`` takes it.
    unit : str or None
        Of its numbers, as the user wrote it; empty for plain numbers, null where the values are no numbers of one unit.
    logarithmic : bool
        Whether its values are spread by ratio.
    """

    path: str
    unit: str | None
    logarithmic: bool = False


class Trial(Record):
    """One simulation of a sweep.

    Attributes
    ----------
    parameters : dict
        The setting of every axis, by path: a number in the axis's unit, or what the user wrote.
    replication : int
        From 0 on.
    seed : int
    result : TrialResult
    """

    parameters: dict[str, Setting]
    replication: int
    seed: int
    result: TrialResult


class Sweep(Record):
    """All trials of a sweep.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    name, question : str
        The scenario's.
    versions : dict of str to str
        Of Python and the packages that take part.
    design : {"grid", "lhs"}
    shard : str or None
        Which part of the trials this is, as in ``2/8``; null for all of them.
    axes : tuple of SweptAxis
    trials : tuple of Trial
        In the order of the design, replications innermost.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    name: str
    question: str
    versions: dict[str, str]
    design: Literal["grid", "lhs"]
    shard: str | None = None
    axes: tuple[SweptAxis, ...]
    trials: tuple[Trial, ...]

    @property
    def frame(self) -> pd.DataFrame:
        """One row per trial: its parameters by path, replication, seed, state, why, key, then all figures."""
        import pandas as pd

        told = dict.fromkeys([*(axis.path for axis in self.axes), *_ABOUT_A_TRIAL])
        # Only a pool's replicas have one name in a scenario and in its summary, and are the same in both.
        measured = dict.fromkeys(name for trial in self.trials for name in trial.result.figures if name not in told)
        rows = [trial.result.figures | _told(trial) for trial in self.trials]
        return pd.DataFrame(rows, columns=[*told, *measured]).astype(dict.fromkeys(measured, float))

    @property
    def failures(self) -> tuple[Trial, ...]:
        """Trials without figures."""
        return tuple(trial for trial in self.trials if trial.result.state in WITHOUT_FIGURES)


def _told(trial: Trial) -> dict[str, Any]:
    """Return what a trial was and what became of it, as cells of a table."""
    settings = {path: _plain(value) for path, value in trial.parameters.items()}
    result = trial.result
    about = (trial.replication, trial.seed, result.state, result.why, result.key)
    return settings | dict(zip(_ABOUT_A_TRIAL, about, strict=True))


def _plain(value: Setting) -> Setting:
    """Return a setting as one cell of a table."""
    return json.dumps(value) if isinstance(value, (dict, list)) else value
