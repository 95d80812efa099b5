"""Tasks and tools of a plan, laid out for the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.economics.sites import load_site
from inferencesim.economics.tariffs import Tariff, tariff_of
from inferencesim.errors import InputError
from inferencesim.hardware.catalog import load_profile, profile_names
from inferencesim.kernel import graph_tables
from inferencesim.kernel.graph_tables import CALL, TOOLS
from inferencesim.scenario.failures import LostTools
from inferencesim.simulation.follow_ups import curves, follow_ups
from inferencesim.workload.graphs import task_classes

if TYPE_CHECKING:
    from inferencesim.economics.sites import Site
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.scenario.scenario import Scenario
    from inferencesim.scenario.tasks import Tools
    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.graph_parts import Graphs

#: Kinds of chip whose cores run any program: sockets, and the machines of users.
_KINDS_WITH_CORES = frozenset({"cpu", "edge"})


@dataclass(frozen=True)
class ToolsPlan:
    """A pool of tools with everything its names stand for.

    Attributes
    ----------
    spec : Tools
    hardware : HardwareProfile
        Of one node.
    site : Site
    tariff : Tariff
        Of electricity: the site's, or the scenario's override.
    pue, carbon_g_per_j : float
        Likewise.
    """

    spec: Tools
    hardware: HardwareProfile
    site: Site
    tariff: Tariff
    pue: float
    carbon_g_per_j: float

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.spec.name

    @property
    def cores(self) -> int:
        """Of all nodes."""
        return self.spec.nodes * self.spec.cores

    @property
    def usd_per_s(self) -> float:
        """Price of all nodes."""
        return self.hardware.price.per_chip.si * self.spec.nodes

    @property
    def node_tariff(self) -> Tariff:
        """Price of a joule at a node: 0 where the hourly price includes power."""
        return self.tariff.times(0.0 if self.hardware.price.includes_power else self.pue)

    @property
    def idle_w(self) -> float:
        """Power of all nodes at rest, with their share of the host."""
        power = self.hardware.power
        return (power.idle.si + power.host.si) * self.spec.nodes

    @property
    def core_w(self) -> float:
        """Power that one busy core adds: between rest and peak it goes with the cores that work."""
        power = self.hardware.power
        return (power.peak.si - power.idle.si) * self.spec.nodes / self.cores


def _with_cores(name: str, where: str) -> HardwareProfile:
    """Return the profile of a node that tools run on, which an accelerator is not."""
    profile = load_profile(name, where)
    if profile.kind not in _KINDS_WITH_CORES:
        sockets = [each for each in profile_names() if load_profile(each, where).kind == "cpu"]
        what = f"tools run on cores, and {profile.id} is a chip of the kind {profile.kind}"
        raise InputError(
            where, what, f"Shipped CPUs: {', '.join(sockets)}. A profile of your own has to be of kind cpu or edge."
        )
    return profile


def plan_tools(scenario: Scenario) -> tuple[ToolsPlan, ...]:
    """Resolve the names of a scenario's tools.

    Raises
    ------
    InputError
        For the first name that does not exist, or is no node with cores.
    """
    economics = scenario.economics
    plans = []
    for index, spec in enumerate(scenario.tools):
        site = load_site(spec.site, f"tools[{index}].site")
        pue, carbon = economics.pue, economics.carbon
        plans.append(
            ToolsPlan(
                spec=spec,
                hardware=_with_cores(spec.hardware, f"tools[{index}].hardware"),
                site=site,
                tariff=tariff_of(economics, site),
                pue=site.pue.si if pue is None else pue,
                carbon_g_per_j=site.carbon_g_per_kwh.si if carbon is None else carbon,
            )
        )
    return tuple(plans)


def kernel_graphs(plan: Plan, graphs: Graphs) -> graph_tables.Graphs:
    """Lay out the tasks and tools of a plan at rest."""
    tools = np.zeros(len(plan.tools), TOOLS)
    tools["cores"] = [each.cores for each in plan.tools]
    tools["head"] = tools["tail"] = -1
    for lost in (each for each in plan.scenario.failures if isinstance(each, LostTools)):
        row = tools[[each.name for each in plan.tools].index(lost.tool)]
        row["lost_share"], row["notice_s"], row["retries"] = lost.share, lost.timeout, lost.retries
        row["lost_from_s"], row["lost_to_s"] = lost.once or (0.0, np.inf)
    owners, after, calls = len(task_classes(plan.scenario)), follow_ups(plan), graphs.nodes["kind"] == CALL
    highest = after["levels"][graphs.nodes["index"][calls]] - 1
    graphs.nodes["level"][calls] = np.minimum(graphs.nodes["level"][calls], highest)
    return graph_tables.Graphs(
        tasks=graphs.tasks,
        nodes=graphs.nodes,
        edges=graphs.edges,
        tools=tools,
        tool_use=np.zeros((tools.size, owners)),
        people_usd=np.zeros(owners),
        follow_ups=after,
        curves=curves(plan),
        closed=np.zeros(graphs.tasks.size, np.int64),
    )


def most_at_once(plan: Plan, graphs: Graphs) -> int:
    """Return how many requests leave, or timers are set, in one event of a task at most.

    Those of all its nodes, and of the tools of others that get the cores it frees.
    """
    return int(graphs.tasks["nodes"].max(initial=0)) + max((each.cores for each in plan.tools), default=0)
