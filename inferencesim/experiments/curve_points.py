"""A scenario played at several loads, each again and again: the points of a curve."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError
from inferencesim.experiments.parallel import begin_here, run_all
from inferencesim.experiments.planning.load import with_load
from inferencesim.experiments.trials import plan_of, play, unrecorded
from inferencesim.results.figures import figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferencesim.scenario.scenario import Scenario


@dataclass(frozen=True)
class Seen:
    """What was seen at one load.

    Attributes
    ----------
    load : float
    states : dict of str to int
        Replications by their verdicts; empty where nobody asked.
    values : dict of str to tuple of float or None
        By the path of the metric, of each replication.
    """

    load: float
    states: dict[str, int]
    values: dict[str, tuple[float | None, ...]]


def see(
    scenario: Scenario,
    loads: Sequence[float],
    seeds: Sequence[int],
    metrics: Sequence[str],
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[Seen, ...]:
    """Play a scenario at every load with every seed.

    Raises
    ------
    InputError
        For a wrong scenario, or a run that fails; then with its load and seed.
    """
    trees = [unrecorded(with_load(scenario, load)) for load in loads]
    plan_of(trees[0])
    work = [
        functools.partial(_played, tree, load, seed, tuple(metrics))
        for tree, load in zip(trees, loads, strict=True)
        for seed in seeds
    ]
    found = _all(work, jobs, progress)
    rows = [found[at : at + len(seeds)] for at in range(0, len(found), len(seeds))]
    return tuple(seen_of(load, row, metrics) for load, row in zip(loads, rows, strict=True))


def seen_of(load: float, played: Sequence[tuple[str, dict[str, float | None]]], metrics: Sequence[str]) -> Seen:
    """Return what some replications showed, each with its verdict and its figures."""
    states: dict[str, int] = {}
    for state, _ in played:
        states[state] = states.get(state, 0) + 1
    return Seen(load, dict(sorted(states.items())), {name: tuple(own[name] for _, own in played) for name in metrics})


def _all(
    work: Sequence[Callable[[], tuple[str, dict[str, float | None]]]],
    jobs: int,
    progress: Callable[[float, float], None] | None,
) -> list[tuple[str, dict[str, float | None]]]:
    """Call all of it, on other processes where they pay."""

    def note(done: float) -> None:
        if progress is not None:
            progress(done, float(len(work)))

    found, enough = begin_here(work, note)
    rest = run_all(work[2:], jobs=jobs, pieces_per_process=enough, progress=lambda done, _: note(2.0 + done))
    return [*found, *rest]


def _played(
    tree: dict[str, Any], load: float, seed: int, metrics: tuple[str, ...]
) -> tuple[str, dict[str, float | None]]:
    """Return verdict and figures of one run."""
    try:
        summary = play(plan_of(tree | {"seed": seed}))
    except Exception as problem:  # a policy may fail in any way
        what = str(problem) if isinstance(problem, InputError) else f"{type(problem).__name__}: {problem}"
        raise InputError(f"load {load:g}, seed {seed}", f"cannot be played: {' '.join(what.split())}") from problem
    found = figures(summary)
    return summary.verdict.state, {name: found.get(name) for name in metrics}
