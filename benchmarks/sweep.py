"""How much of a second process a sweep makes use of, and what a Dask cluster costs beside.

The same trials are played by one process, by two, and by a scheduler with two workers over loopback TCP, in turns, so
that what else the machine does meets all three alike; medians are told. The pace is that between the third trial and
the last: starting processes, importing and loading compiled code come once in a sweep, however long it is, and are told
apart as `start`.

Efficiency is the pace of two processes by twice that of one; the overhead is the pace of two processes by that of two
workers, less one.

Run ``python benchmarks/sweep.py --trials 24 --rounds 3``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST = 3


def scenario(seconds: float) -> dict[str, object]:
    """Return a fleet at half of its saturation, over so many simulated seconds."""
    model = "llama-3.1-8b"
    return {
        "name": "bench",
        "horizon": seconds,
        "pools": [{"name": "only", "hardware": "nvidia-h100-sxm", "model": model, "replicas": 4}],
        "workload": [
            {
                "name": "any",
                "arrivals": {"process": "poisson", "rate": 60.0},
                "prompt_tokens": 500,
                "output_tokens": 250,
                "models": [model],
                "promise": {"ttft": "1s", "tpot": "50ms"},
            }
        ],
    }


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[str]:
    """Start a scheduler and workers on this machine; give the scheduler's address."""

    def start(program: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard", *options]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "scheduler.json"
        scheduler = start("dask_scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", str(told))
        while not (told.exists() and told.read_text()):
            time.sleep(0.1)
        address = json.loads(told.read_text())["address"]
    crew = [start("dask_worker", address, "--nthreads", "1", "--no-nanny") for _ in range(workers)]
    try:
        yield address
    finally:
        for process in (*crew, scheduler):
            process.kill()
            process.wait()


def measure(tree: dict[str, object], trials: int, crew: dict[str, object]) -> tuple[float, float]:
    """Return the pace of a sweep in trials per second, and the seconds until its first trials were finished."""
    from inferencesim import sweep

    moments: list[float] = []
    began = time.perf_counter()

    def note(*_: float) -> None:
        moments.append(time.perf_counter())

    sweep(tree, {"pools.only.replicas": [4]}, replications=trials, progress=note, **crew)
    finished = moments[-trials:]
    return (trials - _FIRST) / (finished[-1] - finished[_FIRST - 1]), finished[_FIRST - 1] - began


def main() -> None:
    """Run all, in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--horizon", type=float, default=600.0, help="simulated seconds of a trial")
    arguments = parser.parse_args()
    from inferencesim.experiments import sweep as experiment
    from inferencesim.experiments.execution import carry_out
    from inferencesim.experiments.processes import Processes

    def in_one(pieces: object, count: int) -> object:  # noqa: ARG001
        with Processes(1) as crew:
            yield from carry_out(pieces, crew)

    tree = scenario(arguments.horizon)
    found: dict[str, list[tuple[float, float]]] = {"one process": [], "two processes": [], "two Dask workers": []}
    on_processes = experiment.on_processes
    with cluster(2) as address:
        for _ in range(arguments.rounds):
            experiment.on_processes = in_one  # as the others: a process of its own, not this one
            found["one process"].append(measure(tree, arguments.trials, {"jobs": 2}))
            experiment.on_processes = on_processes
            found["two processes"].append(measure(tree, arguments.trials, {"jobs": 2}))
            found["two Dask workers"].append(measure(tree, arguments.trials, {"scheduler": address}))
    paces = {name: statistics.median(pace for pace, _ in runs) for name, runs in found.items()}
    print(f"{arguments.trials} trials, {arguments.rounds} rounds")
    for name, runs in found.items():
        each = ", ".join(f"{pace:.2f}" for pace, _ in runs)
        start = statistics.median(start for _, start in runs)
        print(f"{name:18} {paces[name]:6.2f} trials/s (rounds: {each}), start {start:.1f} s")
    print(f"efficiency from one to two processes: {paces['two processes'] / (2.0 * paces['one process']):.0%}")
    print(f"overhead of Dask: {paces['two processes'] / paces['two Dask workers'] - 1.0:.1%}")


if __name__ == "__main__":
    main()
