"""What a run recorded, as far as this version can read it: its scenario and plan, and tables with all columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pandas.api.types import is_numeric_dtype

from inferencesim.documents import validated
from inferencesim.errors import InputError
from inferencesim.ledger.columns import TIME_PARTS
from inferencesim.results.task_rows import NEEDED
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.plan import Plan, plan_pools, plan_providers, settled

if TYPE_CHECKING:
    import pandas as pd

    from inferencesim.results.manifest import Manifest
    from inferencesim.results.run import Run

#: Columns that must hold numbers, and others that must be there; of decisions also each candidate's verdict.
_NUMBERS = {
    "requests": (
        *("request_id", "task", "replica", "prompt_tokens", "output_tokens", "arrived_s", "finished_s", "queue_time_s"),
        *("ttft_s", "tpot_s", "e2e_s", *TIME_PARTS),
    ),
    "decisions": ("request_id", "replica", "time_s"),
    "tasks": (),
    "steps": (),
}
_OTHERS = {
    "requests": (
        *("class", "pool", "provider", "prefill_pool", "outcome", "reason", "held_s", "held_until", "promise_kept"),
        *(column for column in NEEDED["requests"] if column not in _NUMBERS["requests"]),
    ),
    "decisions": ("class", "pool", "provider"),
    "tasks": NEEDED["tasks"],
    "steps": NEEDED["steps"],
}


def scenario_of(manifest: Manifest) -> Scenario:
    """Return the scenario of a manifest.

    Raises
    ------
    InputError
        If this version reads it otherwise.
    """
    return validated(manifest.scenario, Scenario, "manifest.json: scenario")


def plan_of(manifest: Manifest) -> Plan:
    """Resolve the scenario of a manifest; load and traces are not needed.

    Raises
    ------
    InputError
        If a file it names is gone, or this version reads it otherwise.
    """
    scenario = scenario_of(manifest)
    return settled(scenario, plan_pools(scenario), plan_providers(scenario))


def readable(run: Run, name: str, unproven: list[str]) -> pd.DataFrame | None:
    """Return a table if it was recorded and has the columns it should have; else say so among what is unproven."""
    try:
        frame = run.recorded(name)
    except InputError as problem:
        unproven.append(f"The {name} cannot be read ({problem}), so nothing can be proven from them.")
        return None
    if frame is None:
        return None
    unusable = _unusable(run, name, frame)
    if unusable:
        unproven.append(f"The {name} have no usable {', '.join(unusable)}, so nothing can be proven from them.")
        return None
    return frame


def require_usable(run: Run, name: str, frame: pd.DataFrame) -> None:
    """Refuse a table of another version.

    Raises
    ------
    InputError
        With the columns that it lacks.
    """
    unusable = [] if frame.empty else _unusable(run, name, frame)
    if unusable:
        where = str(run.path or run.manifest.name)
        raise InputError(where, f"the {name} have no usable {', '.join(unusable)}", "Run it again with this version.")


def _unusable(run: Run, name: str, frame: pd.DataFrame) -> list[str]:
    """Return the columns that a table lacks, or has no numbers in, as one of another version would."""
    numbers = [column for column in _NUMBERS[name] if column not in frame or not is_numeric_dtype(frame[column])]
    return numbers + [column for column in (*_OTHERS[name], *_verdicts(run, name)) if column not in frame]


def _verdicts(run: Run, name: str) -> list[str]:
    if name != "decisions":
        return []
    scenario = run.manifest.scenario
    return [f"verdict_{each['name']}" for each in (*scenario["pools"], *scenario.get("providers", ()))]
