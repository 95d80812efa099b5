"""The Python entry: one call from a scenario to a run, or from several to a comparison."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError
from inferencesim.scenario.loading import load_scenario
from inferencesim.scenario.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferencesim.ledger.sink import Sink
    from inferencesim.results.comparison import Comparison
    from inferencesim.results.run import Run
    from inferencesim.simulation.engine import Result

_LARGEST_SEED = 2**63


def simulate(
    scenario: Scenario | dict[str, Any] | str | Path,
    seed: int | None = None,
    *,
    out: Path | None = None,
    force: bool = False,
    progress: Callable[[float, float], None] | None = None,
    strict: bool = False,
) -> Run:
    """Simulate a scenario.

    Parameters
    ----------
    scenario : Scenario, dict, str or Path
        A scenario, the mapping a file would hold, a file, or the name of a shipped one.
    seed : int, optional
        Replaces the scenario's own.
    out : Path, optional
        The run folder; without one, all tables stay in memory.
    force : bool
        Whether `out` may replace a run that is there.
    progress : callable, optional
        Called now and then with (simulated seconds, horizon); first with (0, horizon), when everything is
        compiled and about to start.
    strict : bool
        Whether a malformed row of a trace is an error.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        For whatever is wrong with scenario, trace or folder. An interrupted run (KeyboardInterrupt) leaves a
        folder that is readable and marked incomplete.

    Examples
    --------
    >>> from inferencesim import simulate
    >>> run = simulate("mixed_fleet", seed=1)  # doctest: +SKIP
    >>> run.requests.groupby("class").ttft_s.quantile(0.99)  # doctest: +SKIP
    """
    # NumPy, Numba and SimPy take most of a second to import, which reading a scenario need not wait for.
    from inferencesim.ledger.sink import MemorySink
    from inferencesim.results.interrupt import DeferredInterrupt
    from inferencesim.results.manifest import make_manifest
    from inferencesim.results.run import Run
    from inferencesim.results.run_folder import FolderSink
    from inferencesim.simulation.engine import Simulation
    from inferencesim.simulation.plan import make_plan

    plan = make_plan(_with_seed(scenario, seed))
    manifest = make_manifest(plan)
    memory = MemorySink()
    ctrl_c = DeferredInterrupt(progress)
    with contextlib.nullcontext() if out is None else FolderSink(Path(out), force=force) as folder:
        sink: Sink = memory if folder is None else folder
        simulation = Simulation(plan, sink, strict=strict, progress=ctrl_c.at_a_safe_moment)
        if folder is not None:
            folder.begin(manifest)
        if progress is not None:
            progress(0.0, plan.scenario.horizon)
        try:
            with ctrl_c:
                result = simulation.run()
        except KeyboardInterrupt:
            simulation.flush()
            if folder is not None:
                folder.settle()
            raise
        _write_missing(result, sink)
        # The statistics need SciPy: half a second more, for which the simulation need not wait.
        from inferencesim.results.summarise import summarise

        summary = summarise(result)
        if folder is not None:
            manifest = folder.finish(manifest, summary)
    tables = None
    if folder is None:
        tables = memory.tables()
        manifest = manifest.model_copy(update={"status": "complete"})
    return Run(manifest, path=out, tables=tables, summary=summary, malformed=result.malformed, unserved=result.unserved)


def compare(
    scenarios: Scenario | dict[str, Any] | str | Path | Sequence[Any] | dict[str, Scenario],
    *,
    policies: Sequence[str] = (),
    balancings: Sequence[str] = (),
    seed: int | None = None,
    replications: int = 10,
    half_width: float | None = None,
    at_most: int = 100,
    confidence: float = 0.95,
    metrics: Sequence[str] = (),
    against: str | None = None,
    jobs: int = 1,
    progress: Callable[[float, float], None] | None = None,
) -> Comparison:
    """Play alternatives on the same random numbers, and say which differences are more than chance.

    Parameters
    ----------
    scenarios : Scenario, dict, str or Path, a sequence of those, or a dict of names to Scenario
        What is compared, each under all `policies` and `balancings`; a dict names its alternatives itself.
    policies, balancings : sequence of str
        Placement and balancing policies; a scenario's own where none are given.
    seed : int, optional
        Of the first replication of all; default that of the first scenario. The others' follow from it.
    replications : int
        Of each alternative, at least 2.
    half_width : float, optional
        As a share of the mean: then `replications` are a first stage, whose spread says how many are played so that
        the differences of the first metric are known to ± this (Stein's two stages).
    at_most : int
        Replications allowed for that.
    confidence : float
        With which the intervals of all differences hold together (Bonferroni).
    metrics : sequence of str
        Paths of figures as in ``ttft_s.p99`` or ``classes.chat.slo_attainment``; default cost per completed task,
        promises kept of the fleet and of each class, TTFT p99 and energy per completed task.
    against : str, optional
        The alternative the others are compared with, or ``best``: at each metric, the best at it. Default the first.
    jobs : int
        Processes.
    progress : callable, optional
        Called with (trials done, trials in all).

    Returns
    -------
    Comparison
        `trials` and `differences` are DataFrames.

    Raises
    ------
    InputError
        For whatever is wrong with a scenario, a policy, a metric or a number.

    Examples
    --------
    >>> from inferencesim import compare
    >>> found = compare("mixed_fleet", policies=["premium_first", "cheapest_feasible"])  # doctest: +SKIP
    >>> found.differences[["alternative", "metric", "relative", "conclusion"]]  # doctest: +SKIP
    """
    from inferencesim.experiments.alternatives import alternatives
    from inferencesim.experiments.compare import compare_alternatives

    names: list[str] | None = None
    if isinstance(scenarios, dict) and all(isinstance(each, Scenario) for each in scenarios.values()):
        names, sources = list(scenarios), list(scenarios.values())
    else:
        sources = [scenarios] if isinstance(scenarios, (Scenario, dict, str, Path)) else list(scenarios)
    loaded = [_with_seed(each, seed) for each in sources]
    return compare_alternatives(
        alternatives(loaded, policies, balancings, names),
        seed=seed,
        replications=replications,
        half_width=half_width,
        at_most=at_most,
        confidence=confidence,
        metrics=metrics,
        against=against,
        jobs=jobs,
        progress=progress,
    )


def _with_seed(scenario: Scenario | dict[str, Any] | str | Path, seed: int | None) -> Scenario:
    if isinstance(scenario, (dict, str, Path)):
        return load_scenario(scenario, seed=seed)
    if not isinstance(scenario, Scenario):
        what = f"{type(scenario).__name__} is no scenario"
        raise InputError("scenario", what, "Give a Scenario, a mapping, the path of a file or a shipped name.")
    if seed is None:
        return scenario
    if not 0 <= seed < _LARGEST_SEED:
        raise InputError("seed", f"{seed} is out of range", "Choose an integer from 0 to 2⁶³ − 1.")
    return scenario.model_copy(update={"seed": seed})


def _write_missing(result: Result, sink: Sink) -> None:
    """Write tables no row came for, so that a quiet run has its columns too."""
    import numpy as np

    from inferencesim.kernel.tables import DECISION, PREDICTED, RECORD
    from inferencesim.ledger.columns import Columns
    from inferencesim.ledger.tables import decision_table, request_table

    recording, candidates, tasks = result.plan.scenario.recording, len(result.plan.candidates), result.tasks
    if recording.evidence == "off":
        return
    nobody = np.zeros(0, np.int64)
    if result.plan.scenario.tasks and result.kept_tasks == 0:
        sink.write("tasks", tasks.task_table(nobody, 0.0))
        sink.write("steps", tasks.step_table(nobody))
    if result.kept > 0:
        return
    requests = Columns(np.zeros(0, RECORD), result.book.pool_of, tasks)
    sink.write("requests", request_table(requests, result.book, tasks, nobody))
    nothing = np.zeros(0, DECISION)
    verdicts, scores = np.zeros((0, candidates), np.uint8), np.zeros((0, candidates))
    predictions = np.zeros((0, len(PREDICTED) * candidates)) if recording.predictions else None
    sink.write("decisions", decision_table(nothing, verdicts, scores, result.book, predictions))
