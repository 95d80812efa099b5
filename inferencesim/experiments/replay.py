"""A request trace played again: its requests at their times, with step times made of operator profiles."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from inferencesim.deployment.calibration import NO_CALIBRATION
from inferencesim.deployment.step_table import write_step_table
from inferencesim.documents import validated
from inferencesim.experiments.reproduce import figures_of, scenario_of
from inferencesim.hardware.catalog import load_profile
from inferencesim.kernel.tables import COMPLETED
from inferencesim.ledger.sink import MemorySink
from inferencesim.measurements.operators import Link, read_operators
from inferencesim.models.catalog import load_model
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan

if TYPE_CHECKING:
    from typing import Any

    from inferencesim.deployment.step_table import StepTable
    from inferencesim.measurements.measurement import Metric
    from inferencesim.measurements.request_traces import RequestTrace
    from inferencesim.simulation.plan import Plan

_MS_PER_S = 1e3


class Replay:
    """One request trace, ready to be simulated once.

    Parameters
    ----------
    trace : RequestTrace

    Raises
    ------
    InputError
        If its operator profile is bad, or does not cover the batches and contexts of the trace.
    """

    def __init__(self, trace: RequestTrace) -> None:
        self.measurement = trace
        with TemporaryDirectory() as folder:
            table, requests = Path(folder) / "table.yaml", Path(folder) / "requests.jsonl"
            write_step_table(_step_table(trace), table)
            requests.write_text(_mooncake(trace), encoding="utf-8")
            self._plan = make_plan(validated(_scenario(trace, table, requests), Scenario, trace.id))
            # Reads the files, which are gone afterwards.
            self._simulation = Simulation(self._plan, MemorySink())

    @property
    def plan(self) -> Plan:
        """The scenario, resolved."""
        return self._plan

    def simulate(self) -> dict[Metric, float]:
        """Play the trace and return the means of TTFT, TPOT and E2E over all requests, as the engine's clock has them.

        Returns
        -------
        dict
            Empty if no request was completed.
        """
        rows = self._simulation.run().requests
        completed = rows[rows["outcome"] == COMPLETED]
        if completed.size == 0:
            return {}
        figures = figures_of(completed)
        # Clients wait longer, for HTTP server and tokeniser: the trace begins behind them, in the engine's queue.
        outside_s = self._plan.pools[0].deployment.coefficients.engine_request_s
        return {
            "ttft_s": figures["ttft_s"] - outside_s,
            "tpot_s": figures["tpot_s"],
            "e2e_s": figures["e2e_s"] - outside_s,
        }


def _step_table(trace: RequestTrace) -> StepTable:
    setup = trace.setup
    hardware = load_profile(setup.hardware, trace.id)
    link = Link.of(hardware) if trace.link is None else trace.link
    return read_operators(
        trace.profile, hardware.id, load_model(setup.model, trace.id), setup.parallelism["tensor"], link
    )


def _mooncake(trace: RequestTrace) -> str:
    """Return the requests as the lines of a Mooncake trace."""
    requests = zip(trace.queued_s, trace.prompt_tokens, trace.output_tokens, strict=True)
    return "".join(
        json.dumps(
            {
                "timestamp": float(queued_s) * _MS_PER_S,
                "input_length": int(prompt_tokens),
                "output_length": int(output_tokens),
            }
        )
        + "\n"
        for queued_s, prompt_tokens, output_tokens in requests
    )


def _scenario(trace: RequestTrace, table: Path, requests: Path) -> dict[str, Any]:
    return scenario_of(
        trace,
        pool={
            "calibration": NO_CALIBRATION,
            "batching": trace.setup.batching,
            "kv_blocks": trace.kv_blocks,
            "latency": {"table": str(table)},
        },
        load={"arrivals": {"process": "trace", "file": str(requests), "format": "mooncake", "spread": 0.0}},
    )
