"""What an operator knows of load and pools, and routing is told: mean lengths, rates, prices, speeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.kernel.graph_tables import CALL
from inferencesim.kernel.tables import ELIGIBLE
from inferencesim.kernel.views import TRAITS
from inferencesim.scenario.arrivals import Closed
from inferencesim.simulation.providers import fill_traits
from inferencesim.workload.closed import mean_lengths
from inferencesim.workload.lengths import mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferencesim.kernel.tables import Records
    from inferencesim.simulation.plan import Plan
    from inferencesim.workload.graph_parts import Graphs
    from inferencesim.workload.load import Load


@dataclass(frozen=True)
class ClassMeans:
    """Mean lengths and rate of each class; what an operator knows of the load.

    Attributes
    ----------
    prompt_tokens, output_tokens, rate : ndarray of float64, shape (classes,)
    """

    prompt_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    rate: NDArray[np.float64]


def class_means(plan: Plan, load: Load, graphs: Graphs) -> ClassMeans:
    """Return mean lengths and rates per class: of the drawn load and tasks, or of the distributions of closed loops."""
    classes = plan.scenario.workload
    n = len(classes)
    calls = graphs.nodes[graphs.nodes["kind"] == CALL]
    of_class = np.concatenate([load.class_index, calls["index"]])
    counts = np.bincount(of_class, minlength=n).astype(np.float64)
    prompt = np.bincount(of_class, weights=np.concatenate([load.prompt_tokens, calls["prompt_tokens"]]), minlength=n)
    output = np.bincount(of_class, weights=np.concatenate([load.output_tokens, calls["output_tokens"]]), minlength=n)
    drawn = np.maximum(counts, 1.0)
    means = ClassMeans(
        np.where(counts > 0, prompt / drawn, 1.0),
        np.where(counts > 0, output / drawn, 1.0),
        counts / plan.scenario.horizon,
    )
    for index, each in enumerate(classes):
        if isinstance(each.arrivals, Closed):
            means.prompt_tokens[index], means.output_tokens[index] = mean_lengths(each)
            means.rate[index] = each.arrivals.clients / max(1.0, mean(each.arrivals.think_time))
    return means


def reference_pools(plan: Plan, traits: Records) -> NDArray[np.int64]:
    """Return each class's fastest eligible pool, where its uncontended runs are imagined; −1 without any."""
    reference = np.full(len(plan.scenario.workload), -1, dtype=np.int64)
    for index in range(reference.size):
        eligible = np.flatnonzero(plan.verdicts[index, : len(plan.pools)] == ELIGIBLE)
        if eligible.size:
            reference[index] = eligible[np.argmax(traits["speed"][eligible])]
    return reference


def placement_traits(plan: Plan, means: ClassMeans) -> Records:
    """Return the TRAITS of all pools, then of all providers, for the mix of requests that each may be given."""
    traits = np.zeros(len(plan.candidates), TRAITS)
    for index, pool in enumerate(plan.pools):
        prompt, output = _mean_lengths(plan, means, index)
        deployment = pool.deployment
        row = traits[index]
        row["identity"] = index
        row["deployment"] = sum(len(before.variants) for before in plan.pools[:index])
        row["replicas"] = pool.replicas
        row["seats"] = deployment.batching.max_sequences
        row["token_budget"] = deployment.batching.token_budget
        row["kv_tokens"] = deployment.memory.kv_tokens
        row["mean_prompt_tokens"] = prompt
        row["mean_output_tokens"] = output
        row["target_rate"] = deployment.saturated_rate(prompt, output) * pool.replicas
        row["speed"] = deployment.lone_tokens_per_s(prompt)
        row["usd_per_s"] = pool.usd_per_s(pool.chip_tariff.at(0.0))
        row["site_w"] = pool.usual_w * pool.pue
        row["usd_per_j"] = pool.tariff.at(0.0)
        row["carbon_g_per_j"] = pool.carbon_g_per_j
        row["interactive_ttft_s"], row["interactive_tpot_s"] = _interactive_promises(plan, means, index)
    for index, provider in enumerate(plan.providers, len(plan.pools)):
        # Replicas are numbered between pools and providers.
        fill_traits(traits[index], provider, plan.replicas + index, *_mean_lengths(plan, means, index))
    return traits


def _mean_lengths(plan: Plan, means: ClassMeans, candidate: int) -> tuple[float, float]:
    """Return the mean prompt and output of the requests a candidate may be given."""
    weight = np.where(plan.verdicts[:, candidate] == ELIGIBLE, means.rate, 0.0)
    if weight.sum() <= 0.0:
        return 1024.0, 256.0  # of one that serves nobody, which no router will ask for
    prompt = float(np.average(means.prompt_tokens, weights=weight))
    return prompt, max(1.0, float(np.average(means.output_tokens, weights=weight)))


def _interactive_promises(plan: Plan, means: ClassMeans, pool: int) -> tuple[float, float]:
    """Return the tightest TTFT and TPOT promised to interactive work that a pool can keep; infinite without any.

    A class counts if the pool may serve it and keeps its promise with a request of mean lengths alone. A promised
    E2E stands for a TPOT of so long per token.
    """
    ttft_s = tpot_s = math.inf
    for index, each in enumerate(plan.scenario.workload):
        if each.tags.sensitivity != "interactive" or plan.verdicts[index, pool] != ELIGIBLE:
            continue
        deployment = plan.deployments[plan.rows[index, pool]]
        prompt, output = max(1, round(means.prompt_tokens[index])), max(1, round(means.output_tokens[index]))
        promised_ttft, promised_tpot = each.promise.ttft or math.inf, each.promise.tpot or math.inf
        promised_tpot = min(promised_tpot, (each.promise.e2e or math.inf) / output)
        first_s = deployment.alone_s(prompt, 1)
        next_s = (deployment.alone_s(prompt, output) - first_s) / max(1, output - 1)
        if first_s <= promised_ttft and next_s <= promised_tpot:
            ttft_s, tpot_s = min(ttft_s, promised_ttft), min(tpot_s, promised_tpot)
    return ttft_s, tpot_s
