"""A request trace played again: its requests at their times, with step times made of operator profiles.

The clock is that of the series recorded beside it, so that both are read at the
same moments; without one, time counts from the first request.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from inferencesim.deployment.calibration import NO_CALIBRATION
from inferencesim.deployment.step_table import write_step_table
from inferencesim.documents import validated
from inferencesim.experiments.reproduce import HORIZON_S, figures_of, scenario_of
from inferencesim.hardware.catalog import load_profile
from inferencesim.kernel.tables import COMPLETED
from inferencesim.ledger.sink import MemorySink
from inferencesim.measurements.engine_series import preempted_at
from inferencesim.measurements.operators import Link, read_operators
from inferencesim.models.catalog import load_model
from inferencesim.results.accuracy import SeriesComparison, compared_series
from inferencesim.scenario.scenario import Scenario
from inferencesim.simulation.engine import Simulation
from inferencesim.simulation.plan import make_plan

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from inferencesim.deployment.step_table import StepTable
    from inferencesim.kernel.tables import Records
    from inferencesim.measurements.engine_series import SeriesName
    from inferencesim.measurements.measurement import Metric
    from inferencesim.measurements.request_traces import RequestTrace
    from inferencesim.simulation.plan import Plan

_MS_PER_S = 1e3

#: The clock at which a sample is taken, a sum of intervals, may differ by so much from the moment it stands for.
_ROUNDING_S = 1e-6


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
            self._sink = MemorySink()
            # Reads the files, which are gone afterwards.
            self._simulation = Simulation(self._plan, self._sink)
        self._rows: Records | None = None

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
        self._rows = rows = self._simulation.run().requests
        completed = rows[rows["outcome"] == COMPLETED]
        if completed.size == 0:
            return {}
        figures = figures_of(completed)
        return {
            "ttft_s": figures["ttft_s"] - self._outside_s,
            "tpot_s": figures["tpot_s"],
            "e2e_s": figures["e2e_s"] - self._outside_s,
        }

    @property
    def preemptions(self) -> int:
        """How often a request lost its KV in the simulation."""
        return 0 if self._rows is None else int(self._rows["preemptions"].sum())

    def series(self) -> tuple[SeriesComparison, ...]:
        """Return the series recorded with the trace beside those of the simulation, which has been played."""
        recorded = self.measurement.series
        if recorded is None or self._rows is None:
            return ()
        simulated = self._simulated_series(recorded.moments_s, self._rows)
        return tuple(
            compared_series(name, recorded.moments_s, values, simulated[name])
            for name, values in recorded.values.items()
        )

    @property
    def _outside_s(self) -> float:
        """Clients wait longer, for HTTP server and tokeniser: the trace begins behind them, in the engine's queue."""
        return self._plan.pools[0].deployment.coefficients.engine_request_s

    def _simulated_series(self, moments_s: NDArray[np.float64], rows: Records) -> dict[SeriesName, NDArray[np.float64]]:
        table = self._sink.tables()["series"]
        # The last sample was taken when all had left.
        last = np.searchsorted(table["time_s"].to_numpy(), moments_s + _ROUNDING_S, side="right") - 1
        series: dict[SeriesName, NDArray[np.float64]] = {}
        for name in ("running", "waiting", "kv_usage"):
            series[name] = np.where(last < 0, 0.0, table[name].to_numpy()[last])
        scheduled_s, left_s = rows["arrived_s"] + rows["queue_time_s"], rows["left_s"] - self._outside_s
        series["preempted"] = preempted_at(moments_s, scheduled_s, left_s, series["running"])
        return series


def _step_table(trace: RequestTrace) -> StepTable:
    setup = trace.setup
    hardware = load_profile(setup.hardware, trace.id)
    link = Link.of(hardware) if trace.link is None else trace.link
    return read_operators(
        trace.profile, hardware.id, load_model(setup.model, trace.id), setup.parallelism["tensor"], link
    )


def _mooncake(trace: RequestTrace) -> str:
    """Return the requests as the lines of a Mooncake trace."""
    queued_s = trace.queued_s + _first_queued(trace)
    requests = zip(queued_s, trace.prompt_tokens, trace.output_tokens, strict=True)
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


def _first_queued(trace: RequestTrace) -> float:
    return 0.0 if trace.series is None else trace.series.first_queued_s


def _scenario(trace: RequestTrace, table: Path, requests: Path) -> dict[str, Any]:
    interval = HORIZON_S if trace.series is None else float(np.diff(trace.series.moments_s, prepend=0.0).min())
    tree = scenario_of(
        trace,
        pool={
            "calibration": NO_CALIBRATION,
            "batching": trace.setup.batching,
            "kv_blocks": trace.kv_blocks,
            "prefix_cache": trace.prefix_cache,
            "latency": {"table": str(table)},
        },
        load={"arrivals": {"process": "trace", "file": str(requests), "format": "mooncake", "spread": 0.0}},
    )
    # The series goes on after the horizon for as long as requests are inside.
    horizon_s = float(trace.queued_s[-1]) + _first_queued(trace) + 1.0
    recording = tree["recording"] | {"series_interval": interval}
    return tree | {"horizon": horizon_s, "drain": HORIZON_S, "recording": recording}
