"""The kernel as plain Python: the same tables, so that what is compiled is what is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from oracle.small import DATA, closed, model, pool, run, scenario, work

from inferencesim import jit

TESTS = Path(__file__).parents[1]
MIXED = {"distribution": "uniform", "low": 1, "high": 50}

SCRIPT = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
import pytest

from inferencesim import jit
from oracle.compare import assert_same, run_both
from oracle.small import run
sys.path.insert(0, {here!r})
from test_without_jit import open_loop, scenarios
assert not jit.JIT_ENABLED
assert_same(*run_both(open_loop()))
for name, described in scenarios().items():
    for table, rows in run(described).tables.items():
        pq.write_table(rows, Path({out!r}) / f"{{name}}-{{table}}.parquet")
"""


def open_loop(**routing):
    cancelled = {"share": 0.5, "after": {"distribution": "uniform", "low": 0.0, "high": 0.3}}
    return scenario(
        [
            pool(
                "a",
                replicas=2,
                kv_blocks=20,
                batching={"max_sequences": 8, "token_budget": 24, "block_size": 8},
                latency={"table": str(DATA / "small-table.yaml")},
            ),
            pool("b", "fast-chip", "windowed-model", kv_blocks=30, batching={"max_sequences": 4, "token_budget": 40}),
        ],
        [
            work("small", 150.0, MIXED, MIXED, timeout=0.2),
            work("either", 80.0, MIXED, MIXED, models=["small-model", "windowed-model"], cancellation=cancelled),
        ],
        horizon=0.25,
        routing=routing,
        recording={"series_interval": 0.05},
    )


def all_features():
    """Caches with tiers, swaps, drafts, transfers and models that take turns, all in one fleet."""
    shares = {"shared_prefix": {"tokens": 20, "variants": 2}}
    gone = {"share": 0.3, "after": {"distribution": "uniform", "low": 0.0, "high": 0.2}}
    batching = {"max_sequences": 6, "token_budget": 40, "block_size": 8}
    tiers = [
        {"name": "host", "capacity": "42 kB", "bandwidth": "20 MB/s", "latency": "10us"},
        {"name": "ssd", "capacity": "100 kB", "bandwidth": "5 MB/s", "latency": "100us"},
    ]
    swapping = batching | {"order": "vtc", "preemption": "swap", "policy": "continuous"}
    drafting = batching | {"order": "sjf", "starvation_after": 0.1, "policy": "dynamic"}
    drafts = {"drafts": 3, "acceptance": 0.7, "draft": {"layers": 1}}
    return scenario(
        [
            pool("d", kv_blocks=24, prefix_cache=True, kv_tiers=tiers, prefill_in={"pool": "f"}, batching=swapping),
            pool("f", "fast-chip", kv_blocks=20, prefix_cache=True, batching=batching | {"kv": "reserve"}),
            pool("s", batching=drafting, speculation=drafts) | {"kv_blocks": 24},
            pool("m", serves="windowed-model", also_serves=[model("expert-model")], batching=batching)
            | {"kv_blocks": 30},
        ],
        [
            work("a", 120.0, MIXED, MIXED, timeout=0.2, length_prediction={"sigma": 0.5}, **shares),
            work("t", prompt=10, output=MIXED, cancellation=gone, kv_after="keep")
            | {"arrivals": closed(4, 0.01), "conversation": {"turns": 4, "max_context": 150}},
            work("w", 30.0, MIXED, MIXED, models=["windowed-model"]),
            work("e", 30.0, MIXED, MIXED, models=["expert-model"]),
        ],
        horizon=0.25,
        recording={"series_interval": 0.05},
    )


def controlled():
    """All that flow control does, in front of tasks as well."""
    steps = [{"fan_out": {"width": 2, "steps": [{"call": "step"}]}}]
    return scenario(
        [pool(batching={"max_sequences": 3}, replicas=2, queue_limit=6)],
        [
            work("chat", 100.0, MIXED, MIXED, timeout=0.1),
            work("night", 80.0, MIXED, MIXED, promise={"deadline": 0.3}, tags={"batchable": True}),
            work("low", 80.0, MIXED, MIXED, priority=2, retry={"attempts": 2, "back_off": 0.01}),
            work("step", prompt=MIXED, output=MIXED) | {"arrivals": {"process": "tasks"}},
        ],
        horizon=0.25,
        tasks=[{"name": "t", "arrivals": {"process": "poisson", "rate": 30.0}, "steps": steps, "timeout": 0.3}],
        flow={
            "quotas": {
                "chat": {"requests_per_minute": 1200, "burst": 0.1, "beyond": "queue"},
                "step": {"tokens_per_minute": 60_000, "burst": 0.1, "in_flight": 3},
            },
            "shed": [{"above": 0.9, "below": 0.6, "bands": [2]}],
            "defer": {"batch": 6, "windows": [{"from": 0.1, "to": 0.15}], "load_below": 0.2},
        },
        recording={"series_interval": 0.05},
    )


def breaking():
    """Return a scenario with all failures of replicas; their pools are those of all features."""
    return scenario(
        [pool("d"), pool("f"), pool("s")],
        [work()],
        failures=[
            {"replica": "d", "mtbf": 0.1, "mttr": 0.02},
            {"replica": "f", "mtbf": 0.1, "mttr": 0.02},
            {"pool": "s", "at": 0.1, "for": 0.05},
            {"slow": "s", "factor": 2.0, "at": 0.17, "for": 0.05},
        ],
    )


def scenarios():
    return {
        "controlled": controlled(),
        "all features": all_features(),
        "open": open_loop(),
        "predicted": open_loop(placement="predicted_latency", balancing="power_of_two", snapshot_age=0.05),
        "outside": scenario(
            [pool(kv_blocks=20)],
            [
                work("small", 150.0, MIXED, MIXED, timeout=0.1, shared_prefix={"tokens": 1500}),
                work("asks", prompt=MIXED, output=MIXED) | {"arrivals": closed(4, 0.01)},
            ],
            providers=[
                {
                    "name": "api",
                    "model": model(),
                    "price": {"input": "$1/Mtok", "output": "$4/Mtok"},
                    "limits": {"requests_per_minute": 600, "tokens_per_minute": 30_000},
                    "ttft": {"distribution": "lognormal", "median": 0.05, "p95": 0.2},
                    "prompt_cache": 10_000,
                }
            ],
            horizon=0.25,
            recording={"series_interval": 0.05, "predictions": True},
        ),
        "breaking": all_features().model_copy(update={"failures": breaking().failures}),
        "closed": scenario(
            [pool(kv_blocks=20)],
            [work(prompt=MIXED, output=MIXED) | {"arrivals": closed(4, 0.01)}],
            horizon=0.25,
            recording={"series_interval": 0.05},
        ),
    }


@pytest.mark.skipif(not jit.JIT_ENABLED, reason="compares with compiled code, and the JIT is off")
def test_plain_python_writes_the_same_tables(tmp_path):
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path}
    script = SCRIPT.format(here=str(Path(__file__).parent), out=str(tmp_path))
    finished = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    for name, described in scenarios().items():
        tables = run(described).tables
        assert len(tables["requests"]) > 10
        for table, rows in tables.items():
            assert rows.equals(pq.read_table(tmp_path / f"{name}-{table}.parquet")), (name, table)
