"""A measurement played again: its setup deployed, its load run through the kernel, its figures taken the same way."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim.documents import validated
from inferencesim.errors import InputError
from inferencesim.kernel.tables import COMPLETED
from inferencesim.ledger.sink import MemorySink
from inferencesim.models.catalog import load_model
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan

if TYPE_CHECKING:
    from inferencesim.deployment.engine import Engine
    from inferencesim.hardware.profile import HardwareProfile
    from inferencesim.kernel.tables import Records
    from inferencesim.measurements.measurement import Measurement, Metric, TokenRange, Workers
    from inferencesim.simulation.plan import Plan

#: Prefill tokens of one step where a measurement does not say, per engine: what public benchmark scripts set
#: (vLLM's default for servers; TensorRT-LLM's and SGLang's are between 8,192 and 32,768).
TOKEN_BUDGETS = {"vllm": 8192}
TOKEN_BUDGET = 16384

#: Sequences a replica runs together, unless more clients ask.
MAX_SEQUENCES = 256

#: More than these a pool's `max_sequences` does not allow.
MOST_SEQUENCES = 4096

#: The same in an offline run, which is made to fill the chip.
OFFLINE_SEQUENCES = 1024

#: Of a closed loop that does not say how many requests it sent: requests per client.
REQUESTS_PER_CLIENT = 10

#: The pool that prefills for another.
PREFILL = "prefill"

#: Share of memory of a measurement whose model would not fit in the engine's default.
LARGEST_SHARE = 0.98

#: Longer than any measurement: a run ends when its requests have left.
HORIZON_S = 1e7

#: Requests of an offline measurement that are played at most, in full batches: its steady state is compared.
OFFLINE_BATCHES = 10

#: Completions between these shares of an offline run are its steady state.
STEADY = (0.25, 0.75)


class Reproduction:
    """One measurement, ready to be simulated.

    Parameters
    ----------
    measurement : Measurement
    calibration : str
        As a pool of a scenario takes it: ``shipped``, ``none`` or a path.

    Raises
    ------
    InputError
        If its model does not fit its hardware, or its precision or parallelism is impossible.
    """

    def __init__(self, measurement: Measurement, calibration: str = "shipped") -> None:
        self.measurement = measurement
        tree = _scenario(measurement, calibration)
        self._plan = _fitting_plan(tree, measurement)
        self._steady = False
        if measurement.load.kind == "offline":
            self._shorten(tree)

    @property
    def plan(self) -> Plan:
        """The scenario, resolved."""
        return self._plan

    def simulate(self, hardware: HardwareProfile | None = None, engine: Engine | None = None) -> dict[Metric, float]:
        """Simulate the measurement and return its figures, as :data:`Metric` names and defines them.

        Parameters
        ----------
        hardware, engine : optional
            Take the place of the measurement's own and of their calibration: a fit varies their parameters.

        Returns
        -------
        dict
            Empty if no request was completed: the model's context may be too short for them.
        """
        plan = self._plan
        if hardware is not None and engine is not None:
            pool = plan.pools[0].redeployed(hardware, engine, "pools[0]")
            plan = dataclasses.replace(plan, pools=(pool, *plan.pools[1:]))
        rows = Simulation(plan, MemorySink()).run().requests
        completed = rows[rows["outcome"] == COMPLETED]
        if completed.size == 0:
            return {}
        return _of_a_batch(completed) if self.measurement.load.kind == "static" else figures_of(completed, self._steady)

    def _shorten(self, tree: dict[str, Any]) -> None:
        """Play a few full batches of an offline measurement, if it had more, and compare their steady state."""
        load, deployment = self.measurement.load, self._plan.pools[0].deployment
        batch = deployment.saturated_batch(load.prompt_tokens.mean, load.output_tokens.mean)
        most = int(np.ceil(OFFLINE_BATCHES * batch)) * self.measurement.setup.replicas
        if load.requests and load.requests <= most:
            return
        self._steady = True
        tree["workload"][0]["arrivals"]["requests"] = most
        self._plan = make_plan(validated(tree, Scenario, self.measurement.id))


def _fitting_plan(tree: dict[str, Any], measurement: Measurement) -> Plan:
    """Return the plan, with more of the chips' memory than engines take by default if that is what it takes to fit."""
    try:
        return make_plan(validated(tree, Scenario, measurement.id))
    except InputError:
        # The measurement ran, so the model fitted.
        for pool in tree["pools"]:
            pool["memory_share"] = LARGEST_SHARE
        return make_plan(validated(tree, Scenario, measurement.id))


def _scenario(measurement: Measurement, calibration: str) -> dict[str, Any]:
    setup, load = measurement.setup, measurement.load
    per_replica = -(-max(load.concurrency, 1) // setup.replicas)
    if setup.prefill is not None and per_replica > MOST_SEQUENCES:
        raise InputError(
            measurement.id,
            f"more sequences on one decode worker than a replica runs: {per_replica:,}",
            f"A replica runs {MOST_SEQUENCES:,}.",
        )
    usual = OFFLINE_SEQUENCES if load.kind == "offline" else MAX_SEQUENCES
    sequences = setup.batching.get("max_sequences", min(MOST_SEQUENCES, max(usual, per_replica)))
    budget = setup.batching.get("token_budget", TOKEN_BUDGETS.get(setup.engine, TOKEN_BUDGET))
    batching = {
        "max_sequences": sequences,
        "token_budget": max(budget, sequences),
        "admission_interval": max(1, round(2.0 * setup.admission_steps)),
        "policy": "prefill_first" if load.kind == "static" else None,
    }
    return scenario_of(
        measurement,
        pool={"calibration": calibration, "batching": batching},
        load={
            "arrivals": _arrivals(measurement),
            "prompt_tokens": _lengths(load.prompt_tokens),
            "output_tokens": _lengths(load.output_tokens),
        },
    )


def scenario_of(measurement: Measurement, *, pool: dict[str, Any], load: dict[str, Any]) -> dict[str, Any]:
    """Return the scenario that plays a measurement, as a file would hold it: one class, nothing recorded.

    The first pool is the measured one; where others prefilled for it, a second one is theirs.

    Parameters
    ----------
    measurement : Measurement
        Its setup is that of the pools.
    pool, load : dict
        What else the pools and the class say.
    """
    setup = measurement.setup
    served = {
        "name": "measured",
        "hardware": setup.hardware,
        "model": setup.model,
        "engine": setup.engine,
        "replicas": setup.replicas,
        "precision": setup.precision,
        "parallelism": setup.parallelism,
        "memory_share": setup.memory_share,
    }
    pools = [served | pool]
    if setup.prefill is not None:
        pools = [served | pool | {"prefill_in": {"pool": PREFILL}}, served | pool | _prefilling(setup.prefill, pool)]
    asked = {"name": "load", "models": [load_model(setup.model, measurement.id).id]}
    return {
        "schema": 1,
        "name": "measurement",
        "question": f"What does {measurement.id} measure?",
        "horizon": HORIZON_S,
        "warm_up": 0,
        "pools": pools,
        "workload": [asked | load],
        "recording": {"evidence": "off", "series_interval": HORIZON_S},
    }


def _prefilling(workers: Workers, decoding: dict[str, Any]) -> dict[str, Any]:
    """Return what the pool that prefills says otherwise than the one that decodes.

    A token budget is that of one rank of data-parallel attention, each of which
    has a scheduler of its own; those of a pool share one.
    """
    batching = decoding["batching"]
    budget = batching["token_budget"] * workers.parallelism["attention_data"]
    return {
        "name": PREFILL,
        "parallelism": workers.parallelism,
        "replicas": workers.replicas,
        "batching": batching | {"token_budget": budget},
    }


def _arrivals(measurement: Measurement) -> dict[str, Any]:
    load = measurement.load
    if load.kind == "closed":
        requests = load.requests or REQUESTS_PER_CLIENT * load.concurrency
        return {"process": "closed", "clients": load.concurrency, "requests": requests, "think_time": 0}
    if load.kind == "open":
        return {"process": "poisson", "rate": load.rate_per_s}
    return {"process": "burst", "requests": load.requests or load.concurrency or 1}


def _lengths(tokens: TokenRange) -> dict[str, Any] | int:
    if tokens.low == tokens.high:
        return tokens.low
    return {"distribution": "uniform", "low": tokens.low, "high": tokens.high}


def figures_of(rows: Records, steady: bool = False) -> dict[Metric, float]:
    """Return the figures of completed requests, the rates over all of them or in their steady state only."""
    left = np.sort(rows["left_s"])
    start = float(rows["arrived_s"].min())
    makespan = float(left[-1]) - start
    rate = rows.size / makespan
    if steady:
        first, last = (int(share * (rows.size - 1)) for share in STEADY)
        if left[last] > left[first]:
            rate = (last - first) / float(left[last] - left[first])
    prompt, output = float(rows["prompt_tokens"].mean()), float(rows["generated_tokens"].mean())
    ttft, tpot = float(rows["ttft_s"].mean()), float(np.nanmean(rows["tpot_s"])) if output > 1 else float("nan")
    return {
        "ttft_s": ttft,
        "tpot_s": tpot,
        "e2e_s": float(rows["e2e_s"].mean()),
        "makespan_s": makespan,
        "output_tokens_per_s": rate * output,
        "total_tokens_per_s": rate * (prompt + output),
        "requests_per_s": rate,
        "output_tokens_per_s_per_user": 1.0 / tpot if output > 1 else float("nan"),
        "prefill_tokens_per_s": prompt / ttft,
    }


def _of_a_batch(rows: Records) -> dict[Metric, float]:
    """Return the figures of one static batch: all prompts are prefilled, then all sequences decode together."""
    batch = rows.size
    prompt, output = float(rows["prompt_tokens"].mean()), float(rows["generated_tokens"].mean())
    makespan = float((rows["left_s"] - rows["arrived_s"]).max())
    prefilled = float(rows["ttft_s"].max())
    figures: dict[Metric, float] = {
        "ttft_s": prefilled,
        "e2e_s": makespan,
        "makespan_s": makespan,
        "output_tokens_per_s": batch * output / makespan,
        "total_tokens_per_s": batch * (prompt + output) / makespan,
        "requests_per_s": batch / makespan,
        "prefill_tokens_per_s": batch * prompt / prefilled,
    }
    if output > 1.0:
        figures["tpot_s"] = (makespan - prefilled) / (output - 1.0)
        figures["output_tokens_per_s_per_user"] = 1.0 / figures["tpot_s"]
    return figures
