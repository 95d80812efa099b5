"""How fast the simulator is: simulated requests per second of one core, start-up, and memory.

Each case is a fleet of identical replicas (llama-3.1-8b on one H100 each) under Poisson arrivals of 500 prompt and 250
output tokens, at 65 % of the fleet's own saturation throughput, which is measured first by flooding one replica. Every
case runs in a process of its own with full evidence (requests, decisions) and series recorded to Parquet, but for three
that sample the evidence, leave it out or add all candidates' predictions. The clock covers drawing the load, simulating
and writing, on one processor except where a case names two, and leaves out imports and loading compiled code: how long
a command takes to its first simulated second is reported apart. Of a case that misses its target a second run says, by
the functions of Python, where the time of the simulation goes; writing has a thread of its own, and is not in that.

One more plays tasks instead: loops with tools, branches of which two of three count, and bad answers, so that each call
comes after others have ended; its requests per second are calls per second.

Three more replay traces with prefix caching on, whose blocks the kernel looks up one by one: both of Mooncake's
that have a known hit rate, and twelve hours of coding agents' sessions, 1,900 blocks a request. They are passed over
where ``../shared/traces`` is not there. Reading such a trace takes longer than playing it, so their clock covers
simulating and writing alone.

Machines differ and are noisy, so the report begins with a yardstick of this one: how many bare SimPy timeouts it plays
per second. Compare runs of different machines, or hours, by their ratio to that.

Run ``make bench``; it prints the table and writes the numbers to ``bench.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PROMPT_TOKENS, OUTPUT_TOKENS, LOAD = 500, 250, 0.65
HARDWARE, MODEL = "nvidia-h100-sxm", "llama-3.1-8b"

#: Seconds from the command to the first simulated second that users are promised, compiled code being on disk.
START_TARGET_S = 2.0
_STARTS = 5

TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"


@dataclass(frozen=True)
class Replayed:
    """A trace with the hashes of its prompts' blocks, and who serves it."""

    file: str
    format: str
    block_size: int
    horizon_s: float
    model: str
    hardware: str
    tensor: int


@dataclass(frozen=True)
class Case:
    """One fleet and load; a replayed trace brings its requests, of which `requests` is an upper bound."""

    name: str
    replicas: int
    requests: int
    balancing: str
    interpreted: bool = False
    target_per_s: float | None = None
    trace: Replayed | None = None
    evidence: str = "full"
    predictions: bool = False
    tasks: bool = False
    cores: int = 1


def _mooncake(name: str, horizon_s: float) -> Replayed:
    return Replayed(f"mooncake/{name}_trace.jsonl", "mooncake", 512, horizon_s, MODEL, "nvidia-h200-sxm", 8)


_AGENTS = Replayed(
    "coding_agents/kv_cache_tester_claude_code.jsonl.xz",
    "weka",
    64,
    12 * 3600.0,
    "llama-4-maverick",
    "nvidia-b200-sxm",
    8,
)


CASES = (
    Case("4 replicas", 4, 400_000, "least_outstanding", target_per_s=75_000),
    Case("64 replicas", 64, 400_000, "least_outstanding", target_per_s=75_000),
    Case("64 replicas, evidence sampled", 64, 400_000, "least_outstanding", evidence="sampled"),
    Case("64 replicas, evidence off", 64, 400_000, "least_outstanding", evidence="off"),
    Case("64 replicas, evidence with predictions", 64, 400_000, "least_outstanding", predictions=True),
    Case("64 replicas, on two cores", 64, 400_000, "least_outstanding", cores=2),
    Case("64 replicas, evidence with predictions, on two cores", 64, 400_000, "least_outstanding", predictions=True,
         cores=2),
    Case("1,000 replicas", 1000, 400_000, "least_outstanding", target_per_s=60_000),
    Case("1,000 replicas, power of two", 1000, 400_000, "power_of_two"),
    Case("1,000,000 requests, 64 replicas", 64, 1_000_000, "least_outstanding"),
    Case("tasks: loops, tools, branches, retries; 16 replicas", 16, 400_000, "least_outstanding", target_per_s=40_000,
         tasks=True),
    Case("policies in plain Python, 64 replicas", 64, 20_000, "least_outstanding", interpreted=True),
    Case(
        "prefix caching: Mooncake conversation, one replica", 1, 12_031, "least_outstanding", target_per_s=15_000,
        trace=_mooncake("conversation", 3600.0),
    ),
    Case(
        "prefix caching: Mooncake synthetic, one replica", 1, 3_993, "least_outstanding", target_per_s=15_000,
        trace=_mooncake("synthetic", 1100.0),
    ),
    Case(
        "prefix caching: coding agents, 12 h, 4 replicas", 4, 49_334, "session_affinity", target_per_s=1_500,
        trace=_AGENTS,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """What one case showed."""

    requests: int
    wall_s: float
    requests_per_s: float
    kernel_share: float
    bytes_per_request: float
    recorded: str


def scenario_of(replicas: int, rate: float, horizon_s: float, balancing: str, **recording: object) -> object:
    """Return the scenario of a case; `recording` as in a scenario."""
    from inferencesim.scenario.scenario import Scenario

    return Scenario.model_validate(
        {
            "name": "bench",
            "horizon": horizon_s,
            "pools": [{"name": "only", "hardware": HARDWARE, "model": MODEL, "replicas": replicas}],
            "workload": [
                {
                    "name": "any",
                    "arrivals": {"process": "poisson", "rate": rate},
                    "prompt_tokens": PROMPT_TOKENS,
                    "output_tokens": OUTPUT_TOKENS,
                    "models": [MODEL],
                    "promise": {"ttft": "1s", "tpot": "50ms"},
                }
            ],
            "routing": {"balancing": balancing},
            "recording": recording,
        }
    )


#: Calls of a task of the case with tasks: five in its loop on average, three branches, and half of a retry each.
_CALLS_PER_TASK = 11.0


def scenario_of_tasks(scenario: object, calls_per_s: float) -> object:
    """Return the scenario whose requests are calls of tasks instead: loops with tools, branches, bad answers."""
    from inferencesim.scenario.scenario import Scenario

    tree = scenario.model_dump(mode="json", by_alias=True)
    (called,) = tree["workload"]
    called["arrivals"] = {"process": "tasks"}
    called["tags"] = {"human_waiting": True, "latency_sensitivity": "interactive"}
    called["answers"] = {"difficulty": {"distribution": "uniform", "low": 0, "high": 1}, "retries": 1, "noticed": 0.8}
    called["answers"]["person"] = {"price": 1.0, "time": 60.0}
    tool = {"tool": "boxes", "time": {"distribution": "lognormal", "median": "2s", "p95": "20s"}, "adds": 100}
    times = {"distribution": "uniform", "low": 2, "high": 8}
    tree["tasks"] = [
        {
            "name": "agent",
            "arrivals": {"process": "poisson", "rate": calls_per_s / _CALLS_PER_TASK},
            "promise": {"latency": "10min"},
            "context": "fresh",
            "steps": [
                {"repeat": {"times": times, "steps": [{"call": "any"}, tool]}},
                {"fan_out": {"width": 3, "join": 2, "steps": [{"call": "any"}]}},
            ],
        }
    ]
    tree["tools"] = [{"name": "boxes", "hardware": "amd-epyc-9965", "nodes": 20, "cores": 192}]
    return Scenario.model_validate(tree)


def scenario_of_trace(case: Case, trace: Replayed) -> object:
    """Return the scenario of a case that replays a trace."""
    from inferencesim.scenario.scenario import Scenario

    pool = {
        "name": "only", "hardware": trace.hardware, "model": trace.model, "replicas": case.replicas,
        "parallelism": {"tensor": trace.tensor}, "precision": "fp8",
        "prefix_cache": True, "batching": {"block_size": trace.block_size},
    }  # fmt: skip
    arrivals = {"process": "trace", "file": str(TRACES / trace.file), "format": trace.format}
    return Scenario.model_validate(
        {
            "name": "bench",
            "horizon": trace.horizon_s,
            "drain": trace.horizon_s,
            "pools": [pool],
            "workload": [{"name": "any", "arrivals": arrivals, "models": [trace.model]}],
            "routing": {"balancing": case.balancing},
        }
    )


def saturation_per_s() -> float:
    """Return the requests per second one flooded replica completes, in steady state."""
    from inferencesim.ledger.sink import MemorySink
    from inferencesim.simulation.engine import Simulation
    from inferencesim.simulation.plan import make_plan

    flood = scenario_of(1, 100.0, 120.0, "least_outstanding")
    flood = flood.model_copy(update={"warm_up": 40.0, "drain": 0.0})
    result = Simulation(make_plan(flood), MemorySink()).run()
    start, end = result.window
    return float((end.completed - start.completed).sum() / (end.at_s - start.at_s))


def measure(case: Case, profile: cProfile.Profile | None = None) -> Measured:
    """Run one case in this process; a profile is of what the clock covers."""
    from inferencesim.policy import Policy
    from inferencesim.results.run_folder import FolderSink
    from inferencesim.routing.policy import POLICIES
    from inferencesim.simulation.engine import Simulation
    from inferencesim.simulation.plan import make_plan

    if hasattr(os, "sched_setaffinity"):  # elsewhere tables are written on a second core, if there is one
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: case.cores])
    rate = saturation_per_s() * LOAD * case.replicas
    if case.trace is None:
        recording = {"evidence": case.evidence, "predictions": case.predictions}
        scenario = scenario_of(case.replicas, rate, case.requests / rate, case.balancing, **recording)
    else:
        scenario = scenario_of_trace(case, case.trace)
    if case.tasks:
        scenario = scenario_of_tasks(scenario, rate)
    if case.interpreted:
        plain = POLICIES.get(case.balancing, "bench")
        POLICIES.register("bench_plain")(Policy(plain.choose, plain.rule, plain.parameters, compiled=False))
        scenario = scenario_of(case.replicas, rate, case.requests / rate, "bench_plain")
    with tempfile.TemporaryDirectory() as folder:
        before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        began = time.perf_counter()
        with FolderSink(Path(folder) / "run") as sink:
            simulation = Simulation(make_plan(scenario), sink)
            if case.trace is not None:
                began = time.perf_counter()
            kernel_s = _time_spent_in(simulation, "_play")
            with profile or contextlib.nullcontext():
                result = simulation.run()
        wall_s = time.perf_counter() - began
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Measured(
        requests=result.arrived,
        wall_s=wall_s,
        requests_per_s=result.arrived / wall_s,
        kernel_share=kernel_s[0] / wall_s,
        bytes_per_request=(peak_bytes - before_bytes) / result.arrived,
        recorded=f"evidence {case.evidence}{' with predictions' * case.predictions}, series (Parquet)",
    )


def _time_spent_in(simulation: object, name: str) -> list[float]:
    """Wrap a method of a simulation so that the time spent in it adds up in the returned list."""
    spent = [0.0]
    inner = getattr(simulation, name)

    def timed(*arguments: object) -> object:
        began = time.perf_counter()
        try:
            return inner(*arguments)
        finally:
            spent[0] += time.perf_counter() - began

    setattr(simulation, name, timed)
    return spent


def simpy_timeouts_per_s(count: int = 200_000) -> float:
    """Return how many bare SimPy timeouts this machine plays per second."""
    import simpy

    environment = simpy.Environment()

    def tick() -> object:
        for _ in range(count):
            yield environment.timeout(1.0)

    environment.process(tick())
    began = time.perf_counter()
    environment.run()
    return count / (time.perf_counter() - began)


def start_s() -> float:
    """Return the seconds from the command to the first simulated second: the median of a few.

    A run begins with its manifest, which is written when all is compiled and about to start.
    """
    found = []
    for _ in range(_STARTS):
        with tempfile.TemporaryDirectory() as folder:
            manifest = Path(folder) / "run" / "manifest.json"
            command = [sys.executable, "-m", "inferencesim", "run", "mixed_fleet", "--out", str(manifest.parent)]
            began = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                while not manifest.exists():
                    if process.poll() is not None:
                        sys.exit("mixed_fleet cannot be simulated")
                    time.sleep(0.002)
                found.append(time.perf_counter() - began)
                process.kill()
    return sorted(found)[_STARTS // 2]


def run_case(index: int, *, profiled: bool = False) -> str:
    """Run a case in a process of its own, and return what it prints."""
    words = [sys.executable, __file__, "--case", str(index), *["--profile"] * profiled]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(f"{CASES[index].name} failed:\n{finished.stderr}")
    return finished.stdout


def profile_of(case: Case) -> str:
    """Return where the time of a case goes, by the functions that take most of it."""
    profile = cProfile.Profile()
    measure(case, profile)
    text = io.StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(15)
    return "\n".join(line for line in text.getvalue().splitlines() if line.strip())


def main() -> None:
    """Run all cases, each in a process of its own, and print table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only", help="run the cases whose name contains this")
    arguments = parser.parse_args()
    if arguments.case is not None:
        case = CASES[arguments.case]
        print(profile_of(case) if arguments.profile else json.dumps(asdict(measure(case))))
        return
    from rich.console import Console
    from rich.table import Table

    from inferencesim.simulation.compiling import is_cached
    from inferencesim.simulation.warm_up import warm_up

    console = Console(width=None if sys.stdout.isatty() else 140)
    if not is_cached():
        console.print("compiling the kernel (once) ...")
    warm_up()
    yardstick = simpy_timeouts_per_s()
    start = start_s()
    rows, missed = [], []
    load = f"{PROMPT_TOKENS} in / {OUTPUT_TOKENS} out, at {LOAD:.0%} of saturation; traces as they are"
    table = Table(title=f"simulated requests per second of one core, or of two; {load}")
    for column in ("case", "requests", "wall s", "requests/s", "target", "in kernel", "B/request"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for index, case in enumerate(CASES):
        if arguments.only and arguments.only not in case.name:
            continue
        if case.trace is not None and not (TRACES / case.trace.file).exists():
            console.print(f"passed over: {case.name}; {TRACES / case.trace.file} is not there")
            continue
        measured = json.loads(run_case(index))
        short = case.target_per_s is not None and measured["requests_per_s"] < case.target_per_s
        missed += [index] * short
        rows.append({"case": asdict(case), **measured})
        table.add_row(
            case.name,
            f"{measured['requests']:,}",
            f"{measured['wall_s']:.2f}",
            f"{measured['requests_per_s']:,.0f}",
            f"{case.target_per_s:,.0f}{', missed' * short}" if case.target_per_s else "",
            f"{measured['kernel_share']:.0%}",
            f"{measured['bytes_per_request']:,.0f}",
        )
    console.print(table)
    console.print(
        f"yardstick: {yardstick:,.0f} bare SimPy timeouts/s on this machine; recorded: full evidence and series"
    )
    console.print(f"warm start: {start:.1f} s from the command to the first simulated second (target {START_TARGET_S})")
    for index in missed:
        console.print(f"where the time of {CASES[index].name!r} goes:")
        print(run_case(index, profiled=True))
    if arguments.json:
        document = {"simpy_timeouts_per_s": yardstick, "warm_start_s": start, "cases": rows}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
