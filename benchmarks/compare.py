"""How long a comparison takes: five balancing policies, ten replications each, 100,000 requests a replication.

The fleet is that of ``bench.py``: 64 replicas at 65 % of their saturation throughput. The clock covers everything from
the call to the comparison, with starting the processes; imports and compiling are left out. Run
``python benchmarks/compare.py``; the target is two minutes on two cores.
"""

from __future__ import annotations

import argparse
import time

from bench import LOAD, saturation_per_s, scenario_of

POLICIES = ("least_outstanding", "power_of_two", "round_robin", "random", "join_shortest_queue")
REPLICATIONS, REQUESTS, REPLICAS = 10, 100_000, 64
TARGET_S = 120.0


def main() -> None:
    """Run the comparison and print how long it took, and what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    arguments = parser.parse_args()
    from rich.console import Console

    from inferencesim import compare
    from inferencesim.report.comparison import comparison_parts

    rate = saturation_per_s() * LOAD * REPLICAS
    scenario = scenario_of(REPLICAS, rate, REQUESTS / rate, POLICIES[0])
    began = time.perf_counter()
    found = compare(scenario, balancings=POLICIES, replications=arguments.replications, jobs=arguments.jobs)
    wall_s = time.perf_counter() - began
    console = Console(width=160)
    for part in comparison_parts(found):
        console.print(part)
    requests = len(found.trial_rows) * REQUESTS
    console.print(
        f"{len(found.trial_rows)} trials of {REQUESTS:,} requests on {arguments.jobs} processes: {wall_s:.1f} s "
        f"({requests / wall_s:,.0f} requests/s; target {TARGET_S:.0f} s)"
    )


if __name__ == "__main__":
    main()
