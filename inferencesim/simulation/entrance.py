"""The way in, laid out from a plan: load, clients, policies and their memory, the record of decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.gateway import Gateway
from inferencesim.kernel.sample import kept_below
from inferencesim.kernel.tables import ARRIVAL, DECISION, PREDICTED
from inferencesim.kernel.views import CACHED
from inferencesim.routing.policy import MEMORY_SIZE
from inferencesim.simulation.clients import new_clients
from inferencesim.simulation.power import kernel_power
from inferencesim.simulation.schedulers import schedulers_of
from inferencesim.simulation.state import CHUNK_ROWS
from inferencesim.simulation.tasks import kernel_graphs
from inferencesim.simulation.traits import placement_traits

if TYPE_CHECKING:
    from inferencesim.kernel.tables import Records
    from inferencesim.policy import BoundPolicy
    from inferencesim.simulation.plan import Plan
    from inferencesim.simulation.traits import ClassMeans
    from inferencesim.workload.graph_parts import Graphs


def new_gateway(
    plan: Plan,
    stream: Records,
    graphs: Graphs,
    means: ClassMeans,
    placement: BoundPolicy,
    balancing: BoundPolicy,
) -> Gateway:
    """Lay out the way in: load, classes, policies' memory and the record of decisions."""
    scenario = plan.scenario
    pools, replicas = len(plan.pools), plan.replicas
    candidates = len(plan.candidates)
    traits = placement_traits(plan, means)
    of_pools = traits[:pools]
    replica_traits = np.repeat(of_pools, of_pools["replicas"])
    replica_traits["identity"] = pools + np.arange(replicas)
    replica_traits["target_rate"] /= replica_traits["replicas"]
    replica_traits["replicas"] = 1
    recording = scenario.recording
    rows = 1 if recording.evidence == "off" else CHUNK_ROWS
    predicted = rows if recording.predictions else 1
    clients, turns, loops = new_clients(scenario)
    return Gateway(
        stream=stream,
        clients=clients,
        turns=turns,
        loops=loops,
        graphs=kernel_graphs(plan, graphs),
        asking=np.zeros(1, ARRIVAL),
        verdicts=plan.verdicts,
        rows=plan.rows,
        network_s=plan.network_s,
        no_network_s=np.zeros(replicas),
        schedulers=schedulers_of(plan),
        pool_traits=traits,
        replica_traits=replica_traits,
        pool_cached=np.zeros(candidates, CACHED),
        replica_cached=np.zeros(replicas, CACHED),
        pool_eligible=np.zeros(candidates, np.uint8),
        replica_eligible=np.ones(replicas, np.uint8),
        power=kernel_power(plan),
        placement_parameters=placement.parameters,
        balancing_parameters=balancing.parameters,
        memory=np.zeros((pools + 1, MEMORY_SIZE), np.int64),
        replica_scores=np.full(replicas, np.nan),
        decisions=np.zeros(rows, DECISION),
        decision_verdicts=np.zeros((rows, candidates), np.uint8),
        decision_scores=np.full((rows, candidates), np.nan),
        decision_predictions=np.full((predicted, len(PREDICTED) * candidates), np.nan),
        reads_caches=np.array([placement.reads_caches, balancing.reads_caches], np.int64),
        seed=scenario.seed & 0x7FFFFFFF,
        kept_below=kept_below(recording.kept_share),
        predict=int(recording.predictions),
    )
