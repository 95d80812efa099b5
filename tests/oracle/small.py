"""Small chips, small models and small KV caches: scenarios whose every corner is reached within a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inferencesim.deployment.engine import load_engine
from inferencesim.deployment.memory import engine_memory, plan_memory
from inferencesim.hardware.catalog import load_profile
from inferencesim.kernel.tables import RECORD
from inferencesim.ledger.sink import MemorySink
from inferencesim.models.catalog import load_model
from inferencesim.scenario.fleet import Batching, Parallelism, Precision
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan

DATA = Path(__file__).parent / "data"


def chip(name="small-chip"):
    return str(DATA / f"{name}.yaml")


def model(name="small-model"):
    return str(DATA / f"{name}.yaml")


def share_of_memory(hardware, spec, batching, kv_blocks, precision=None, parallelism=None, engine="generic"):
    """Return the memory share that leaves room for exactly so many KV blocks on each rank."""
    profile = load_profile(hardware, "hardware")
    spread = Parallelism(**(parallelism or {}))
    taken = engine_memory(profile, load_engine(engine, "engine"), 1.0)
    formats = Precision(**(precision or {}))
    plan = plan_memory(profile, load_model(spec, "model"), formats, spread, Batching(**batching), taken)
    block_bytes = plan.kv_bytes_per_token * plan.block_size
    wanted = plan.runtime_bytes + plan.weight_bytes + plan.activation_bytes + (kv_blocks + 0.5) * block_bytes
    return wanted / profile.memory.capacity.si


def pool(name="p", hardware="small-chip", serves="small-model", kv_blocks=None, batching=None, **said):
    """Return a pool of the small chip; `kv_blocks` cuts its KV cache down to so many."""
    batching = batching or {}
    tree = {
        "name": name,
        "hardware": chip(hardware),
        "model": model(serves),
        "engine": "generic",
        "batching": batching,
        **said,
    }
    if kv_blocks is not None:
        formats, spread = said.get("precision"), said.get("parallelism")
        tree["memory_share"] = share_of_memory(
            tree["hardware"], tree["model"], batching, kv_blocks, formats, spread, tree["engine"]
        )
    return tree


def work(name="c", rate=50.0, prompt=40, output=20, models=("small-model",), **said):
    """Return a class of Poisson arrivals; what is not said is simple."""
    return {
        "name": name,
        "arrivals": {"process": "poisson", "rate": rate},
        "prompt_tokens": prompt,
        "output_tokens": output,
        "models": list(models),
        **said,
    }


def closed(clients, think_time=0.0, **said):
    return {"process": "closed", "clients": clients, "think_time": think_time, **said}


def scenario(pools, workload, horizon=2.0, **said):
    """Return a scenario with a tenth of the samples that a series has by default: they take most of so short a run."""
    recording = {"series_interval": horizon / 24} | said.pop("recording", {})
    tree = {"name": "test", "horizon": horizon, "pools": pools, "workload": workload, "recording": recording, **said}
    return Scenario.model_validate(tree)


class Recorded(Simulation):
    """A simulation that keeps the kernel's own records of all requests, private fields included."""

    def __init__(self, plan, sink):
        super().__init__(plan, sink)
        self.kept = []

    def _book(self, records, end_s):
        self.kept.append(records.copy())
        super()._book(records, end_s)


class Run:
    """A finished simulation: its result, its tables as data frames, and the fleet it left behind."""

    def __init__(self, described):
        sink = MemorySink()
        self.plan = make_plan(described)
        self.simulation = Recorded(self.plan, sink)
        self.result = self.simulation.run()
        self.tables = sink.tables()

    def records(self):
        """Return the kernel's records of all requests, in order of their numbers."""
        every = np.concatenate([np.zeros(0, RECORD), *self.simulation.kept])
        return every[np.argsort(every["request_id"])]

    @property
    def fleet(self):
        return self.simulation.fleet

    @property
    def requests(self):
        return self.frame("requests").sort_values("request_id").reset_index(drop=True)

    @property
    def decisions(self):
        return self.frame("decisions").sort_values("request_id").reset_index(drop=True)

    @property
    def inside(self):
        """Requests in the pools at each sample of the series up to the horizon."""
        series = self.frame("series")
        series = series[series["time_s"] <= self.plan.scenario.horizon]
        return (series["waiting"] + series["running"]).groupby(series["time_s"]).sum().to_numpy()

    def frame(self, name):
        return self.tables[name].to_pandas()


def run(described):
    return Run(described)


def number_inside(requests, moments):
    """Return how many requests are between arrival and departure at each moment (arrivals included, departures not)."""
    arrived = np.sort(requests["arrived_s"].to_numpy())
    left = np.sort(requests["finished_s"].dropna().to_numpy())
    return np.searchsorted(arrived, moments, side="right") - np.searchsorted(left, moments, side="right")
