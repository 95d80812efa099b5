"""A policy's cost curve: recorded once, reviewed as a file, and played again to see whether anything changed."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import inferencesim
from inferencesim.errors import InputError
from inferencesim.experiments.curve_digests import physics_digests, scenario_digest
from inferencesim.experiments.curve_judging import judge
from inferencesim.experiments.curve_points import Seen, see
from inferencesim.experiments.other_version import installed, revision
from inferencesim.experiments.trials import seed_of
from inferencesim.results.curve import Figure, Point, RecordedCurve, curve_text, read_curve, usual_limit
from inferencesim.results.curve_check import CurveCheck
from inferencesim.results.figures import require_metrics
from inferencesim.scenario.loading import find_scenario, load_scenario, scenario_names
from inferencesim.scenario.policies import PolicyChoice
from inferencesim.simulation.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from inferencesim.experiments.other_version import OtherVersion
    from inferencesim.results.curve_check import CurveDifference
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.simulation.plan import Plan

    Progress = Callable[[float, float], None]

#: Factors on all arrival rates, unless a user says otherwise.
LOADS = (0.5, 0.7, 0.85, 0.95, 1.0)

REPLICATIONS = 16

FALSE_ALARM_RATE = 0.01

#: What every curve has where the scenario promises something; a user may add others.
METRICS = ("cost_per_completed_task_usd", "slo_attainment", "energy_per_completed_task_j")


@dataclass(frozen=True)
class Curve:
    """What a policy costs and keeps against load, and how to find out whether it still does.

    Attributes
    ----------
    recorded : RecordedCurve
        As its file holds it, but for the place of the scenario, which is absolute.
    path : Path or None
        The file.

    Examples
    --------
    >>> from inferencesim import Curve
    >>> Curve.record("mixed_fleet", policy="tag_aware").save("curves/tag_aware.yaml")  # doctest: +SKIP
    >>> found = Curve.load("curves/tag_aware.yaml").check()  # doctest: +SKIP
    >>> found.passed, found.differences  # doctest: +SKIP
    """

    recorded: RecordedCurve
    path: Path | None = None

    @classmethod
    def record(
        cls,
        scenario: str | Path,
        *,
        policy: str | None = None,
        balancing: str | None = None,
        loads: Sequence[float] = LOADS,
        replications: int = REPLICATIONS,
        metrics: Sequence[str] = (),
        false_alarm_rate: float = FALSE_ALARM_RATE,
        seed: int | None = None,
        variant: str | None = None,
        overrides: Sequence[str] = (),
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> Curve:
        """Play a scenario at several loads, each again and again.

        Parameters
        ----------
        scenario : str or Path
            A file, or the name of a shipped scenario: the file of a curve refers to it.
        policy, balancing : str, optional
            Placement and balancing policy, with default parameters; default the scenario's own.
        loads : sequence of float
            Factors on all arrival rates.
        replications : int
            Of each load, at least 2.
        metrics : sequence of str
            Paths of figures to guard beside cost and energy per completed task, and promises kept.
        false_alarm_rate : float
            Of checks, each over the whole curve.
        seed : int, optional
            Of the first replication; default the scenario's own.
        variant, overrides
            As of :func:`inferencesim.load_scenario`.
        jobs : int
            Processes at most.
        progress : callable, optional
            Called with (runs done, runs in all).

        Raises
        ------
        InputError
            For whatever is wrong with the scenario or a number, and where a figure does not exist at some load.
        """
        _require(loads, replications, false_alarm_rate)
        chosen = _chosen(str(scenario), variant, overrides, policy, balancing)
        require_metrics(metrics, [chosen])
        wanted = tuple(dict.fromkeys((*METRICS, *metrics)))
        first = chosen.seed if seed is None else seed
        seen = see(chosen, sorted(loads), _seeds(first, range(replications)), wanted, jobs, progress)
        limits = {metric: usual_limit(metric) for metric in _that_exist(seen, wanted, metrics)}
        return cls(
            RecordedCurve(
                scenario=_absolute(str(scenario)),
                variant=variant,
                overrides=tuple(overrides),
                placement=chosen.routing.placement.policy,
                balancing=chosen.routing.balancing.policy,
                seed=first,
                replications=replications,
                false_alarm_rate=false_alarm_rate,
                limits=limits,
                version=inferencesim.__version__,
                scenario_digest=scenario_digest(chosen),
                physics=physics_digests(make_plan(chosen)),
                points=_points(seen, limits),
            )
        )

    @classmethod
    def load(cls, path: str | Path) -> Curve:
        """Read the file of a curve.

        Raises
        ------
        InputError
            For a file that is missing or wrong.
        """
        file = Path(path)
        recorded = read_curve(file)
        beside = (file.parent / recorded.scenario).resolve()
        scenario = str(beside) if beside.is_file() else recorded.scenario
        return cls(recorded.model_copy(update={"scenario": scenario}), file)

    def save(self, path: str | Path) -> Curve:
        """Write the file of the curve, and return the curve with its path.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        file = Path(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            scenario = self.recorded.scenario
            if Path(scenario).is_absolute():
                scenario = Path(os.path.relpath(scenario, file.parent.resolve())).as_posix()
            text = curve_text(self.recorded.model_copy(update={"scenario": scenario}))
            file.write_text(text, encoding="utf-8")
        except OSError as problem:
            raise InputError(str(file), f"cannot be written ({problem.strerror})", "Name another file.") from None
        return Curve(self.recorded, file)

    def again(self, *, jobs: int = 1, progress: Progress | None = None) -> Curve:
        """Record the curve anew, of the scenario as it is now, with the loads, seeds and limits it has.

        Raises
        ------
        InputError
            As of :meth:`record`.
        """
        old = self.recorded
        chosen = self._scenario()
        seen = see(chosen, old.loads, _seeds(old.seed, range(old.replications)), tuple(old.limits), jobs, progress)
        _that_exist(seen, tuple(old.limits), tuple(old.limits))
        changed = {
            "version": inferencesim.__version__,
            "scenario_digest": scenario_digest(chosen),
            "physics": physics_digests(make_plan(chosen)),
            "points": _points(seen, old.limits),
        }
        return Curve(old.model_copy(update=changed), self.path)

    def check(
        self,
        *,
        fresh_seeds: bool = False,
        against: str | None = None,
        python: str | None = None,
        jobs: int = 1,
        progress: Progress | None = None,
    ) -> CurveCheck:
        """Play the curve again and say what has changed by more than chance and by more than its limit.

        Parameters
        ----------
        fresh_seeds : bool
            Whether to take the random numbers that follow those of the recording: then nothing is paired.
        against : str, optional
            A revision of the git repository we are in: it plays the same random numbers, and the recorded values
            do not matter.
        python : str, optional
            The same with the version that another interpreter has.
        jobs : int
            Processes at most, of this version.
        progress : callable, optional
            Called with (runs done, runs in all), for each version.

        Raises
        ------
        InputError
            For a scenario that is not the recorded one any more, a run that fails, or a version that cannot be had.
        """
        if (against is not None) + (python is not None) + fresh_seeds > 1:
            what = "a revision, another interpreter and fresh seeds exclude each other"
            raise InputError("--against, --python, --fresh-seeds", what, "Ask for one of them.")
        recorded = self.recorded
        chosen = self._scenario()
        plan = make_plan(chosen)
        first = recorded.replications if fresh_seeds else 0
        seeds = _seeds(recorded.seed, range(first, first + recorded.replications))
        metrics = tuple(recorded.limits)
        name, notes = "the recording", []
        if against is None and python is None:
            self._require_same_scenario(chosen)
            old = tuple(
                Seen(each.load, each.states, {metric: each.figures[metric].values for metric in metrics})
                for each in recorded.points
            )
            notes = self._since(plan)
        else:
            with _other(against, python) as other:
                name = other.name
                old = other.see(chosen, recorded.loads, seeds, metrics, progress)
        new = see(chosen, recorded.loads, seeds, metrics, jobs, progress)
        rows = judge(old, new, recorded.limits, recorded.false_alarm_rate, paired=not fresh_seeds)
        return CurveCheck(
            curve=str(self.path or recorded.scenario),
            scenario=chosen.name,
            placement=recorded.placement,
            balancing=recorded.balancing,
            old=name,
            paired=not fresh_seeds,
            replications=recorded.replications,
            false_alarm_rate=recorded.false_alarm_rate,
            comparisons=len(rows),
            notes=(*notes, *(_verdicts(old, new) if not fresh_seeds else ()), *_wide(rows)),
            difference_rows=rows,
            passed=not any(each.changed for each in rows),
        )

    @property
    def frame(self) -> pd.DataFrame:
        """One row per load and figure: mean and interval."""
        return self.recorded.frame

    def _scenario(self) -> Scenario:
        own = self.recorded
        return _chosen(own.scenario, own.variant, own.overrides, own.placement, own.balancing)

    def _require_same_scenario(self, chosen: Scenario) -> None:
        now = scenario_digest(chosen)
        if now != self.recorded.scenario_digest:
            what = (
                f"the scenario {self.recorded.scenario} is not the one of the recording (digest "
                f"{self.recorded.scenario_digest[:16]}, now {now[:16]})"
            )
            remedy = f"Record it again and review what changes: inferencesim curves update {self.path or 'FILE'}."
            raise InputError(str(self.path or "curve"), what, remedy)

    def _since(self, plan: Plan) -> list[str]:
        """Say what else is not as it was when the curve was recorded."""
        notes = []
        if inferencesim.__version__ != self.recorded.version:
            notes.append(f"Recorded by version {self.recorded.version}; this is {inferencesim.__version__}.")
        now = physics_digests(plan)
        moved = sorted(name for name, digest in now.items() if self.recorded.physics.get(name) != digest)
        if moved:
            notes.append(
                f"Hardware, model, calibration or prices behind {', '.join(moved)} are not those of the recording."
            )
        return notes


def _chosen(
    scenario: str, variant: str | None, overrides: Sequence[str], placement: str | None, balancing: str | None
) -> Scenario:
    """Return a scenario under the policies; one that it has already keeps its parameters."""
    found = load_scenario(scenario, overrides, variant=variant)
    update = {
        level: PolicyChoice(policy=name)
        for level, name in (("placement", placement), ("balancing", balancing))
        if name is not None and name != getattr(found.routing, level).policy
    }
    return found.model_copy(update={"routing": found.routing.model_copy(update=update)})


def _absolute(scenario: str) -> str:
    """Return the name of a shipped scenario, or the whole path of a file."""
    return (
        scenario
        if scenario in scenario_names() and not Path(scenario).exists()
        else str(find_scenario(scenario).resolve())
    )


def _seeds(seed: int, replications: range) -> list[int]:
    return [seed_of(seed, replication) for replication in replications]


def _other(against: str | None, python: str | None) -> contextlib.AbstractContextManager[OtherVersion]:
    return revision(against) if against is not None else contextlib.nullcontext(installed(str(python)))


def _points(seen: Sequence[Seen], metrics: Iterable[str]) -> tuple[Point, ...]:
    return tuple(
        Point(
            load=each.load,
            states=each.states,
            figures={
                metric: Figure.of([value for value in each.values[metric] if value is not None]) for metric in metrics
            },
        )
        for each in seen
    )


def _that_exist(seen: Sequence[Seen], wanted: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Return the metrics that every run has; those that none has are left out unless they were asked for.

    Raises
    ------
    InputError
        Where no request arrives, or a metric exists in some runs only.
    """
    for each in seen:
        if set(each.states) == {"empty"}:
            what = f"no request arrives in the measurement window at load {each.load:g}"
            raise InputError("workload", what, "Give it a higher rate, or a longer horizon.")
    found = []
    for metric in wanted:
        without = {each.load: each.values[metric].count(None) for each in seen}
        if metric not in asked and all(without[each.load] == len(each.values[metric]) for each in seen):
            continue
        for load, runs in without.items():
            if runs:
                what = f"{runs} of {len(seen[0].values[metric])} replications have no {metric}"
                raise InputError(f"load {load:g}", what, "Give it more load, or a longer horizon.")
        found.append(metric)
    return found


def _verdicts(old: Sequence[Seen], new: Sequence[Seen]) -> list[str]:
    """Say where runs of the same random numbers have other verdicts."""
    return [
        f"Verdicts at load {before.load:g}: {_states(before)} then, {_states(after)} now."
        for before, after in zip(old, new, strict=True)
        if before.states != after.states
    ]


def _wide(rows: Sequence[CurveDifference]) -> list[str]:
    """Say how often chance hides a change as large as the limit."""
    wide = sum(
        (each.high - each.low) / 2.0 > each.limit
        for each in rows
        if each.low is not None and each.high is not None and each.limit is not None
    )
    if not wide:
        return []
    return [
        f"{wide} of {len(rows)} intervals are wider than their limits: there, only larger changes can be told from "
        "chance. More replications narrow them."
    ]


def _states(seen: Seen) -> str:
    return ", ".join(f"{state} {runs}×" for state, runs in seen.states.items())


def _require(loads: Sequence[float], replications: int, false_alarm_rate: float) -> None:
    if not loads or not all(0.0 < load < math.inf for load in loads) or len(set(loads)) < len(loads):
        listed = ", ".join(f"{load:g}" for load in loads) or "none"
        raise InputError("--load", f"{listed}: loads are different factors above zero", "Write --load 0.5,0.85,1.")
    if replications < 2:
        raise InputError("--replications", f"{replications} leave no interval", "Give at least 2.")
    if not 0.0 < false_alarm_rate < 1.0:
        what = f"{false_alarm_rate:g} is not between 0 and 1"
        raise InputError("--false-alarm-rate", what, "Write a share such as 1%.")
