"""Sweeping a scenario's parameters: many trials, each simulated once and kept, whatever comes between."""

from __future__ import annotations

import contextlib
import functools
import itertools
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from inferencesim.errors import InputError, did_you_mean
from inferencesim.experiments.axes import axes_of, grid, latin_hypercube
from inferencesim.experiments.execution import DEATHS, Died, Outcome, Raised, Report
from inferencesim.experiments.parallel import on_processes
from inferencesim.experiments.trials import plan_of, play, seed_of, unrecorded
from inferencesim.results.figures import figures
from inferencesim.results.fingerprint import scenario_key
from inferencesim.results.manifest import package_versions
from inferencesim.results.sweep import NOT_KEPT, Sweep, Trial, TrialResult
from inferencesim.results.trial_folder import TrialFolder
from inferencesim.scenario.loading import load_varied

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from inferencesim.scenario.scenario import Scenario

Design = Literal["grid", "lhs"]

#: Seconds between two looks at trials that another sweep in the folder is at.
_LOOK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Planned:
    """A trial before it is played.

    Attributes
    ----------
    parameters : dict
        As results show them.
    replication : int
    tree : dict
        The scenario as a file would hold it, its seed included.
    key : str
        Of all that decides the figures.
    """

    parameters: dict[str, Any]
    replication: int
    tree: dict[str, Any]
    key: str

    def with_result(self, result: TrialResult) -> Trial:
        """Return what is told of it when it is finished."""
        seed: int = self.tree["seed"]
        return Trial(parameters=self.parameters, replication=self.replication, seed=seed, result=result)


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a sweep, from 1 on; which trials it has depends on their keys alone."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``.

        Raises
        ------
        InputError
            If it is not of that form.
        """
        number, _, count = text.partition("/")
        if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
            raise InputError("--shard", f"{text!r} is no part of a whole", "Write k/n, with k from 1 to n.")
        return cls(int(number), int(count))

    def holds(self, key: str) -> bool:
        """Tell whether a trial is of this part."""
        return int(key, 16) % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def sweep(
    scenario: Scenario | dict[str, Any] | str | Path,
    vary: Mapping[str, str | Iterable[Any]],
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    variant: str | None = None,
    design: Design = "grid",
    samples: int | None = None,
    replications: int = 1,
    out: Path | str | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    shard: str | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> Sweep:
    """Simulate a scenario at many settings of its parameters.

    Trials that are finished in the folder `out` are not simulated again, and
    each is kept there as soon as it is finished; so a sweep that was killed
    goes on where it was when the same call is made again.

    Parameters
    ----------
    scenario : Scenario, dict, str or Path
        A scenario, the mapping a file would hold, a file, or the name of a shipped one.
    vary : mapping
        Path of a parameter, as ``--set`` takes it, to its values, or to the text that ``--vary`` takes:
        ``{"pools.premium.replicas": [2, 4, 8], "workload.chat.arrivals.rate": "10/s..50/s:5"}``.
    overrides, seed, variant
        As :func:`~inferencesim.scenario.loading.load_scenario` takes them; they are applied first.
    design : {"grid", "lhs"}
        All combinations, or a Latin hypercube drawn with the scenario's seed.
    samples : int, optional
        Of the Latin hypercube.
    replications : int
        Of every combination, with seeds that follow from the scenario's: the same for all combinations.
    out : Path, optional
        The folder; without one, nothing is kept.
    jobs : int
        Processes on this machine; with one, this process does all.
    scheduler : str, optional
        Address of a Dask scheduler whose workers simulate instead, as in ``tcp://host:8786``.
    shard : str, optional
        ``k/n``: only this part of the trials.
    progress : callable, optional
        Called with (trials done, trials in all), first with what was finished before.

    Returns
    -------
    Sweep

    Raises
    ------
    InputError
        For wrong values, before the first trial; or where the folder cannot be written, or the cluster does not
        answer, in which case finished trials are kept. A combination that cannot be simulated, as of a model that
        does not fit, is a failed trial, not an error.

    Examples
    --------
    >>> from inferencesim import sweep
    >>> found = sweep("mixed_fleet", {"pools.premium.replicas": [2, 4, 8]}, replications=3)  # doctest: +SKIP
    >>> found.frame.groupby("pools.premium.replicas")["ttft_s.p99"].mean()  # doctest: +SKIP
    """
    axes = axes_of(vary)
    part = None if shard is None else Shard.parse(shard)
    _check(design, samples, replications)
    (base,) = load_varied(scenario, [{}], overrides, seed, variant)
    combinations = grid(axes) if design == "grid" else latin_hypercube(axes, samples or 0, base.seed)
    settings = [dict(zip((axis.path for axis in axes), each, strict=True)) for each in combinations]
    varied = load_varied(scenario, settings, overrides, seed, variant)
    planned = [
        trial
        for values, scenario_there in zip(settings, varied, strict=True)
        for trial in _replicated(
            scenario_there, {axis.path: axis.shown(values[axis.path]) for axis in axes}, replications
        )
        if part is None or part.holds(trial.key)
    ]
    with contextlib.ExitStack() as stack:
        path = Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = stack.enter_context(TrialFolder(path))
        results = _results(planned, folder, functools.partial(_execute, scheduler, jobs), progress)
        found = Sweep(
            name=base.name,
            question=base.question,
            versions=package_versions(),
            design=design,
            shard=None if part is None else str(part),
            axes=tuple(axis.described for axis in axes),
            trials=tuple(trial.with_result(results[trial.key]) for trial in planned),
        )
        if out is not None and part is None:
            folder.gather(found)
    return found


def play_trial(tree: dict[str, Any], key: str) -> TrialResult:
    """Simulate a trial, here or on another machine.

    Raises
    ------
    InputError
        Where what decides the figures is not what it was for whoever planned the trial.
    """
    if scenario_key(tree) != key:
        raise InputError(
            f"a worker on {socket.gethostname()}",
            "has other sources, packages or files of the scenario than the sweep began with",
            "Install the same versions everywhere, put the files at the same paths, and change neither meanwhile.",
        )
    try:
        summary = play(plan_of(tree))
    except InputError as problem:
        return TrialResult(key=key, state="failed", why=str(problem))
    return TrialResult(key=key, state=summary.verdict.state, why=summary.verdict.why, figures=figures(summary))


def _check(design: str, samples: int | None, replications: int) -> None:
    if design not in get_args(Design):
        raise InputError("--design", f"{design!r} is unknown", did_you_mean(design, get_args(Design)))
    if design == "lhs" and (samples is None or samples < 1):
        raise InputError("--samples", "a Latin hypercube needs to know how many", "Write for instance --samples 50.")
    if design == "grid" and samples is not None:
        raise InputError("--samples", "a grid has as many trials as combinations", "Add --design lhs, or leave it out.")
    if replications < 1:
        raise InputError("--replications", f"{replications} is not above zero", "Give a whole number from 1 on.")


def _replicated(scenario: Scenario, parameters: dict[str, Any], replications: int) -> Iterator[Planned]:
    tree = unrecorded(scenario)
    for replication in range(replications):
        seeded = tree | {"seed": seed_of(scenario.seed, replication)}
        yield Planned(parameters, replication, seeded, scenario_key(seeded))


def _execute(
    scheduler: str | None, jobs: int, pieces: Iterable[tuple[int, Callable[[], Any]]], count: int
) -> Generator[Report]:
    """Have pieces of work done, of which there are at most `count`."""
    if scheduler is not None:
        from inferencesim.experiments.cluster import on_cluster

        return on_cluster(pieces, scheduler)
    return on_processes(pieces, min(jobs, count) if jobs > 1 else 0)


def _results(
    trials: Sequence[Planned],
    folder: TrialFolder,
    execute: Callable[[Iterable[tuple[int, Callable[[], Any]]], int], Generator[Report]],
    progress: Callable[[float, float], None] | None,
) -> dict[str, TrialResult]:
    """Return the results of trials by key: what the folder has, and what is done now, here or by another sweep."""
    wanted = {trial.key: trial for trial in trials}
    results = {key: found for key in wanted if (found := folder.read(key)) is not None}

    def show() -> None:
        if progress is not None:
            progress(len(results), len(wanted))

    show()
    while open_trials := [trial for key, trial in wanted.items() if key not in results]:
        pieces = _claimed(open_trials, folder, results)
        first = next(pieces, None)
        if first is None:  # others are at all that is left; should they die, it is free again
            show()
            time.sleep(_LOOK_AGAIN_S)
            continue
        with contextlib.closing(execute(itertools.chain([first], pieces), len(open_trials))) as reports:
            for place, outcome in reports:
                result = _result(open_trials[place].key, outcome)
                if result.state in NOT_KEPT:
                    folder.release(result.key)
                else:
                    folder.write(result)
                results[result.key] = result
                show()
    return results


def _claimed(
    trials: Sequence[Planned], folder: TrialFolder, results: dict[str, TrialResult]
) -> Iterator[tuple[int, Callable[[], TrialResult]]]:
    """Claim trials one by one, as they are asked for; take over what another sweep has finished meanwhile."""
    for place, trial in enumerate(trials):
        if not folder.claim(trial.key):
            continue
        finished = folder.read(trial.key)
        if finished is None:
            yield place, functools.partial(play_trial, trial.tree, trial.key)
        else:
            folder.release(trial.key)
            results[trial.key] = finished


def _result(key: str, outcome: Outcome) -> TrialResult:
    """Return what an outcome means for a trial.

    Raises
    ------
    InputError
        Where it means that the sweep cannot go on.
    """
    if isinstance(outcome, Died):
        return TrialResult(key=key, state="killed", why=f"given up after {DEATHS} attempts: {outcome.how}")
    if isinstance(outcome, Raised):
        if isinstance(outcome.problem, InputError):
            raise outcome.problem
        return TrialResult(key=key, state="crashed", why=f"{type(outcome.problem).__name__}: {outcome.problem}")
    result: TrialResult = outcome.value
    return result
