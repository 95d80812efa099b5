"""The power of a replica against published power: shares of the peak on A100s, and servers at the wall.

The pace is the measured one: software that takes longer for the same work
draws the power of that work for a smaller share of the time. Reached: mean power
of decodes within 15 % (median 5 %), of prefills 7 to 20 % below the highest
sample seen, and servers at full load 4, 5 and 13 % too low.
"""

from __future__ import annotations

import csv
import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from deploying import chunk_cost, deployed

import inferencesim
from inferencesim.measurements.published import published_power

if TYPE_CHECKING:
    from inferencesim.deployment.deployment import Deployment
    from inferencesim.deployment.step_time import StepCost

MEASURED = Path(inferencesim.__file__).parents[2] / "shared" / "measurements"
needs_measurements = pytest.mark.skipif(
    not MEASURED.is_dir(), reason="the measurements are not beside the project (../shared/measurements)"
)


def drawn_at(deployment: Deployment, step: StepCost, pace: float = 1.0) -> float:
    """Return a chip's share of (peak − idle) when a step that should take `step.seconds` is done `pace` times as fast.

    What it computes and moves stays the same; it is busy all the time.
    """
    busy = deployment.coefficients.busy_activity
    return min(1.0, busy + (step.active_s / step.seconds - busy) * pace)


def of_peak(deployment: Deployment, share: float) -> float:
    """Return a chip's power as a share of its peak."""
    power = deployment.hardware.power
    return (power.idle.si + (power.peak.si - power.idle.si) * share) / power.peak.si


@pytest.fixture(scope="module")
def runs() -> list[tuple[Deployment, dict[str, float]]]:
    """Llama-2-70B on A100s: one prompt or a batch of them, then 128 tokens each; power as a share of its peak."""
    file = MEASURED / "operator_profiles" / "splitwise" / "perf_model.csv"
    found = {}
    with file.open() as lines:
        for row in csv.DictReader(lines):
            if row["model"] != "llama2-70b" or row["hardware"] != "a100-80gb" or row["token_size"] != "128":
                continue
            run = {name: float(value) for name, value in row.items() if name not in ("model", "hardware")}
            # Rows without power have zeros; and three whose sampling caught the machine at rest.
            if run["average_power"] > 0.2:
                found[(run["tensor_parallel"], run["prompt_size"], run["batch_size"])] = run
    deployments = {n: deployed("nvidia-a100-80gb-sxm", "llama-2-70b", tensor=n, memory_share=1.0) for n in (2, 4, 8)}
    return [(deployments[int(run["tensor_parallel"])], run) for run in found.values()]


@needs_measurements
def test_the_mean_power_of_decodes_on_two_four_and_eight_chips(runs):
    """Eight chips read a quarter of what two do per step, and take little less time: they draw less, not a quarter."""
    errors = []
    for deployment, run in runs:
        prompt, batch = int(run["prompt_size"]), int(run["batch_size"])
        if prompt > 2048:
            # Most of the run is no longer decode.
            continue
        step = chunk_cost(deployment, batch, batch * (prompt + 64))
        measured_s = (run["e2e_time"] - run["prompt_time"]) / 1000 / 127
        power = of_peak(deployment, drawn_at(deployment, step, step.seconds / measured_s))
        errors.append(power / run["average_power"] - 1)
    assert len(errors) > 20
    assert statistics.median(abs(error) for error in errors) < 0.06
    assert max(abs(error) for error in errors) < 0.16


@needs_measurements
def test_a_long_prompt_draws_nearly_the_peak(runs):
    errors = []
    for deployment, run in runs:
        prompt, batch = int(run["prompt_size"]), int(run["batch_size"])
        if prompt * batch < 2048 or run["tensor_parallel"] == 8:
            continue
        step = chunk_cost(deployment, 0, 0, ((0, prompt),) * batch, batch)
        errors.append(of_peak(deployment, drawn_at(deployment, step)) / min(1.0, run["peak_power"]) - 1)
    assert len(errors) > 5
    # The model's is the mean over the prefill, the measured one its highest sample.
    assert -0.25 < min(errors) <= max(errors) <= 0.0


class Server(NamedTuple):
    """How a published server ran: what MLPerf's logs and datasets say."""

    precision: str
    tensor: int
    prompt: float  #: mean tokens of the dataset's prompts
    output: float
    chip_w: float  #: power limit per chip
    within: float  #: error reached


#: Mean lengths as MLCommons describes its datasets: CNN/DailyMail, OpenOrca, LongBench and others.
SERVERS = {
    "mlperf-power-lenovo-b200-8b-w": Server("fp4", 1, 778, 73, 1000, 0.08),
    "mlperf-power-lenovo-b200-405b-w": Server("fp4", 8, 9400, 684, 1000, 0.15),
    "mlperf-power-nv-h200maxq-70b-w": Server("fp8", 1, 294, 283, 500, 0.10),
}


@needs_measurements
def test_servers_at_full_load_draw_what_their_audited_runs_drew():
    points = {each.id: each for each in published_power(MEASURED / "published_points.csv")}
    assert set(SERVERS) <= set(points)
    for name, server in SERVERS.items():
        point = points[name]
        precision = {"weights": server.precision, "activations": server.precision, "kv": "fp8"}
        batching = {"max_sequences": 2048, "token_budget": 8192}
        deployment = deployed(
            point.hardware,
            point.model,
            precision,
            tensor=server.tensor,
            batching=batching,
            engine="tensorrt-llm",
        )
        replicas = point.chips / server.tensor
        step, tokens = saturated_step(deployment, server.prompt, server.output)
        power = deployment.hardware.power
        pace = point.output_tokens_per_s / replicas / (tokens / step.seconds)
        if server.chip_w < power.peak.si:
            # Slowed by its power limit, a chip is no less at work.
            pace = 1.0
        share = drawn_at(deployment, step, pace)
        chip_w = power.idle.si + (server.chip_w - power.idle.si) * share
        predicted_w = point.chips * (power.host.si + chip_w)
        assert predicted_w == pytest.approx(point.watts, rel=server.within), name


def saturated_step(deployment: Deployment, prompt: float, output: float) -> tuple[StepCost, float]:
    """Return the cost of the average step of a full replica, and the sequences that decode in it."""
    batch = deployment.saturated_batch(prompt, output)
    batch = min(batch, deployment.batching.token_budget / (1 + prompt / output))
    chunk = int(batch / output * prompt)
    whole = tuple((0, int(prompt)) for _ in range(chunk // int(prompt)))
    chunks = (*whole, (0, max(1, chunk % int(prompt))))
    return chunk_cost(deployment, batch, batch * (prompt + output / 2), chunks, len(whole)), batch


def test_a_chip_that_waits_for_others_is_busy_and_no_more():
    """Nothing but collectives and launches: the floor of a running chip, between rest and any work."""
    deployment = deployed("nvidia-h100-sxm", "llama-3.1-70b", tensor=8, engine="generic")
    names = [name for name in deployment.coefficients._fields if name.endswith("_weight_s") or "_s_per_" in name]
    idle = deployment.coefficients._replace(**dict.fromkeys(names, 0.0), decode_memory_s=0.0, decode_compute_s=0.0)
    waiting = chunk_cost(replace(deployment, coefficients=idle), 1, 100)
    assert waiting.active_s == pytest.approx(idle.busy_activity * waiting.seconds)
    working = chunk_cost(deployment, 1, 100)
    assert working.active_s / working.seconds > waiting.active_s / waiting.seconds > 0
