"""One scenario played once for its figures only: what studies repeat, in this process or in others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.documents import validated
from inferencesim.ledger.sink import MemorySink
from inferencesim.results.summarise import summarise
from inferencesim.scenario.scenario import Recording, Scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan

if TYPE_CHECKING:
    from inferencesim.results.records.summary import Summary
    from inferencesim.simulation.engine import Result
    from inferencesim.simulation.plan import Plan


def seed_of(seed: int, replication: int) -> int:
    """Return the seed of a replication: the scenario's own for the first, then a stream of seeds that follows from it.

    It is the same for every alternative and every study, so that all meet the same loads (common random numbers). The
    numbers are those that NumPy's SeedSequence gives to the children it spawns, cut to what a scenario takes.
    """
    if replication == 0:
        return seed
    child = np.random.SeedSequence(seed, spawn_key=(replication,))
    return int(child.generate_state(1, np.uint64)[0] >> np.uint64(1))


def unrecorded(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as a file would hold it, without the rows that no summary needs.

    The series keeps its interval: means of batch and KV cache are those of its samples. Other processes take the
    scenario in this form: generic models cannot be pickled.
    """
    nothing = Recording(evidence="off", series_interval=scenario.recording.series_interval)
    return scenario.model_copy(update={"recording": nothing}).model_dump(mode="json", by_alias=True)


def plan_of(tree: dict[str, Any]) -> Plan:
    """Return the plan of a scenario as a file would hold it.

    Raises
    ------
    InputError
        For a wrong scenario.
    """
    return make_plan(validated(tree, Scenario, "scenario"))


def run_of(plan: Plan) -> Result:
    """Simulate a plan in memory."""
    return Simulation(plan, MemorySink()).run()


def play(plan: Plan) -> Summary:
    """Simulate a plan and keep its summary only."""
    return summarise(run_of(plan))
