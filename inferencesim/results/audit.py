"""Audit a run folder: unchanged rows, hard constraints kept, and every broken promise with its cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferencesim.errors import InputError
from inferencesim.results.causes import causes
from inferencesim.results.chain_check import check_chain
from inferencesim.results.constraints import check_constraints
from inferencesim.results.coverage import all_there, coverage_of
from inferencesim.results.findings import Audit, CauseCount, ClassPromises, Constraint, Coverage, TaskPromises
from inferencesim.results.power import check_power
from inferencesim.results.quotas import check_quotas
from inferencesim.results.recorded import plan_of, readable
from inferencesim.results.task_causes import promises_of
from inferencesim.results.task_constraints import check_tasks
from inferencesim.results.task_rows import TaskTables
from inferencesim.workload.graphs import task_classes

if TYPE_CHECKING:
    import pandas as pd

    from inferencesim.results.manifest import Manifest
    from inferencesim.results.run import Run
    from inferencesim.simulation.plan import Plan


def audit(run: Run, expected: str | None = None) -> Audit:
    """Audit a run folder.

    Parameters
    ----------
    run : Run
        Loaded from a folder.
    expected : str, optional
        The head of its chain, as kept when the run was made.

    Raises
    ------
    InputError
        If the run is in memory, or `expected` is no head.
    """
    if run.path is None:
        raise InputError(run.manifest.name, "a run in memory has no chain", "Give simulate() a folder with out=.")
    manifest = run.manifest
    chain = check_chain(run.path, manifest, expected)
    unproven = [] if chain.state != "unproven" else [f"{chain.why} Nobody can tell whether a row was changed."]
    constraints: tuple[Constraint, ...] = ()
    classes: tuple[ClassPromises, ...] = ()
    tasks: tuple[TaskPromises, ...] = ()
    tables = {name: readable(run, name, unproven) for name in ("requests", "decisions", "tasks", "steps")}
    requests, decisions = tables["requests"], tables["decisions"]
    coverage = coverage_of(run, requests)
    if coverage.why:
        unproven.append(coverage.why)
    if not run.complete:
        unproven.append(
            "The run did not come to its end: of requests that never left, and of parts lost, it is silent."
        )
    try:
        plan = plan_of(manifest)
    except InputError as problem:
        unproven.append(f"The scenario cannot be resolved any more ({problem}), so no constraint can be checked.")
    else:
        unproven += _other_profiles(plan, manifest)
        end_s = run.summary.window.end_s if run.complete else None
        constraints = check_constraints(plan, requests, decisions, end_s)
        of_tasks = _of_tasks(tables)
        counted = run.summary.task_conservation if run.complete else None
        constraints += check_tasks(plan, of_tasks, end_s, counted, sampled=coverage.evidence == "sampled")
        if coverage.evidence == "sampled":
            constraints = tuple(_of_a_sample(each) for each in constraints)
        constraints += all_there(run, requests, plan)
        constraints += check_quotas(plan, requests, _without_rows(run, coverage))
        constraints += check_power(plan, requests, _without_rows(run, coverage))
        if coverage.evidence != "off":
            unproven += [f"{each.statement}: {each.why}." for each in constraints if each.state == "unproven"]
        if requests is not None:
            classes = broken_promises(requests, plan, end_s or plan.scenario.horizon)
        if of_tasks is not None:
            found = TaskTables(**of_tasks, end_s=end_s or plan.scenario.horizon)
            tasks = tuple(promises_of(found, name) for name in task_classes(plan.scenario))
    holds = chain.state != "changed" and all(each.state != "broken" for each in constraints)
    return Audit(
        name=manifest.name,
        seed=manifest.seed,
        complete=run.complete,
        holds=holds,
        chain=chain,
        coverage=coverage,
        constraints=constraints,
        classes=classes,
        tasks=tasks,
        unproven=tuple(unproven),
    )


def _of_tasks(tables: dict[str, pd.DataFrame | None]) -> dict[str, pd.DataFrame] | None:
    """Return the tables that tasks are audited from; None if one of them is not there."""
    found = {name: frame for name in ("requests", "tasks", "steps") if (frame := tables[name]) is not None}
    return found if len(found) == 3 else None


def _without_rows(run: Run, coverage: Coverage) -> str:
    """Say which requests have no row though requests were recorded; empty if all have one."""
    if coverage.evidence == "sampled":
        return "only a sample of the rows was kept"
    return "" if run.complete else "the run did not come to its end, where requests were still inside"


def _of_a_sample(found: Constraint) -> Constraint:
    """Return what was found of a constraint, where it was held against a sample of the requests only."""
    return found.model_copy(update={"state": "sampled"}) if found.state == "proven" else found


def broken_promises(requests: pd.DataFrame, plan: Plan, end_s: float) -> tuple[ClassPromises, ...]:
    """Return what became of each class's promises, with the causes of those broken."""
    kept = requests["promise_kept"].astype(object)
    broken = requests[(kept == False).to_numpy(bool)]  # noqa: E712 - null is open
    why = causes(broken, plan, end_s).assign(request_id=broken["request_id"], name=broken["class"].astype(str))
    found = []
    for each in plan.scenario.workload:
        own = (requests["class"] == each.name).to_numpy(bool)
        lost = why[why["name"] == each.name]
        found.append(
            ClassPromises(
                name=each.name,
                requests=int(own.sum()),
                kept=int((kept[own] == True).sum()),  # noqa: E712 - likewise
                broken=len(lost),
                open=int((kept.isna() & (requests["outcome"] == "open"))[own].sum()),
                causes=_counted(lost),
            )
        )
    return tuple(found)


def _counted(lost: pd.DataFrame) -> tuple[CauseCount, ...]:
    """Return the causes of some broken promises, the most frequent first, each with its requests."""
    counts = []
    for (what, by), group in lost.groupby(["what", "by"], dropna=False, sort=True):
        worst = group.sort_values(["severity", "request_id"], ascending=[False, True])["request_id"]
        cause = by if isinstance(by, str) else None
        counts.append(
            CauseCount(what=what, by=cause, requests=len(group), worst=tuple(int(number) for number in worst))
        )
    return tuple(sorted(counts, key=lambda each: -each.requests))


def _other_profiles(plan: Plan, manifest: Manifest) -> list[str]:
    """Say which pools are built of other profiles today than when the run was made."""
    from inferencesim.hardware.catalog import profile_digest
    from inferencesim.models.catalog import model_digest

    said = []
    then = {profile.pool: profile for profile in manifest.profiles}
    for pool in plan.pools:
        before, deployment = then.get(pool.name), pool.deployment
        now = profile_digest(deployment.hardware), model_digest(deployment.model)
        if before is None or (before.hardware_digest, before.model_digest) != now:
            said.append(
                f"Pool {pool.name}: {deployment.hardware.id} or {deployment.model.id} has other figures than when the "
                "run was made; constraints were checked against those of today."
            )
    return said
