"""Parameters moved one by one: what must move a figure does, by as much as physics says, and what cannot is told."""

from __future__ import annotations

import functools
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import yaml
from oracle.small import chip, pool, scenario, work

from inferencesim import simulate
from inferencesim.deployment.calibration import Calibration, Errors, Fit
from inferencesim.deployment.engine import load_engine
from inferencesim.errors import InputError
from inferencesim.experiments.fitting import PARAMETERS, Point
from inferencesim.experiments.sensitivity import measure_sensitivity
from inferencesim.hardware.catalog import load_profile
from inferencesim.models.catalog import load_model
from inferencesim.results.calibration import calibration_text


def one_client(prompt, output, **said):
    """A GPU that serves one client: its steps hold one sequence, its queue is empty."""
    described = {
        "name": "p", "hardware": "nvidia-h100-sxm", "model": "llama-3.1-8b", "engine": "vllm", "calibration": "none",
    } | said  # fmt: skip
    arrivals = {"process": "closed", "clients": 1, "think_time": 0.5}
    load = work(prompt=prompt, output=output, models=(described["model"],)) | {"arrivals": arrivals}
    return scenario([described], [load], horizon=60.0)


@functools.cache
def of_decoding():
    return measure_sensitivity(one_client(16, 400))


@functools.cache
def of_prefill():
    return measure_sensitivity(one_client(30_000, 2))


def effects(report, metric):
    """Return the changes of a figure by parameter, better and worse."""
    return {row.parameter: (row.better.changes[metric], row.worse.changes[metric]) for row in report.rows}


def test_decode_follows_the_memory_by_the_share_of_a_step_that_streams_weights():
    report = of_decoding()
    hardware, model = load_profile("nvidia-h100-sxm", "here"), load_model("llama-3.1-8b", "here")
    streamed = 2.0 * (model.total_parameters - model.vocab * model.hidden)  # embeddings are looked up
    share = streamed / (hardware.memory.bandwidth.si * hardware.efficiency.memory.si) / report.base["tpot_s.mean"]
    assert 0.5 < share < 1.0
    moved = effects(report, "tpot_s.mean")
    better, worse = moved["efficiency.memory"]
    assert better == pytest.approx(-share * (1.0 - 1.0 / 1.1), rel=0.03)
    assert worse == pytest.approx(share * (1.0 / 0.9 - 1.0), rel=0.03)
    assert abs(moved["efficiency.compute"][0]) < 0.1 * abs(better)
    assert report.rows[0].parameter in ("memory.bandwidth", "efficiency.memory", "host.request")


def test_prefill_follows_the_compute():
    moved = effects(of_prefill(), "ttft_s.mean")
    better, worse = moved["efficiency.compute"]
    assert -0.09 < better < -0.04 < 0.05 < worse < 0.11
    assert moved["compute.bf16"][0] < better, "the peak bounds attention too"
    assert abs(moved["efficiency.memory"][0]) < 0.1 * abs(better)


def test_better_is_better_and_worse_is_worse():
    for report, metric in ((of_decoding(), "e2e_s.p99"), (of_prefill(), "e2e_s.p99")):
        for better, worse in effects(report, metric).values():
            assert better <= 1e-9
            assert worse >= -1e-9


def test_power_moves_energy_and_nothing_else():
    for row in of_decoding().rows:
        if row.parameter.startswith("power."):
            for move in (row.better, row.worse):
                moved = {metric for metric, change in move.changes.items() if change}
                assert moved == {"energy_per_completed_request_j"}


def test_every_parameter_that_can_matter_moves_something():
    """Experts, two chips, four bits and long prompts: only what this deployment lacks is without effect."""
    report = measure_sensitivity(
        one_client(
            4000, 20, hardware="nvidia-b200-sxm", model="gpt-oss-120b", parallelism={"tensor": 2},
            precision={"weights": "fp4", "activations": "fp4"},
        )
    )  # fmt: skip
    effect = {row.parameter: row.effect for row in report.rows}
    fitted = {f"{each.block}.{each.name}" for each in PARAMETERS}
    said = {
        "memory.bandwidth",
        "scale_up.bandwidth",
        "scale_up.latency",
        "overhead.step",
        "compute.bf16",
        "compute.fp4",
    }
    said |= {"power.idle", "power.peak", "power.host"}
    assert all(effect[name] > 1e-6 for name in fitted | said)
    assert set(effect) == fitted | said | {"memory.capacity"}
    assert set(report.without_effect) == {"scale_out.bandwidth", "scale_out.latency", "compute.fp8", "compute.int8"}
    assert [row.effect for row in report.rows] == sorted(effect.values(), reverse=True)


def test_one_dense_chip_has_neither_links_nor_experts():
    without = of_decoding().without_effect
    assert {"efficiency.link", "overhead.collective", "scale_up.bandwidth"} < set(without)
    assert {"efficiency.expert_memory", "efficiency.four_bit_compute", "compute.fp8"} < set(without)
    assert not set(without) & {row.parameter for row in of_decoding().rows}


def test_capacity_matters_where_the_cache_is_full():
    batching = {"max_sequences": 16, "token_budget": 64}
    full, spare = pool(kv_blocks=30, batching=batching), pool(kv_blocks=2000, batching=batching)
    load = work(rate=40.0, prompt=100, output=60)
    by_capacity = {
        name: effects(measure_sensitivity(scenario([each], [load], horizon=4.0)), "ttft_s.mean")["memory.capacity"]
        for name, each in (("full", full), ("spare", spare))
    }
    assert by_capacity["full"][0] < -0.05
    assert by_capacity["spare"] == (0.0, 0.0)


def test_a_memory_too_small_for_the_model_comes_first():
    tight = scenario([pool(kv_blocks=40, batching={"block_size": 1})], [work(prompt=8, output=8)])
    report = measure_sensitivity(tight, share=0.2)
    first = report.rows[0]
    assert first.parameter == "memory.capacity"
    assert first.worse.obstacle == "does not fit"
    assert first.worse.changes == {}
    assert first.better.obstacle is None


@pytest.fixture
def near_its_limits(tmp_path):
    """A chip that streams at 95 % of its bandwidth and hides everything."""
    tree = yaml.safe_load(Path(chip()).read_text(encoding="utf-8"))
    tree["efficiency"]["memory"]["value"] = 0.96
    tree["efficiency"]["overlap"] = tree["efficiency"]["memory"] | {"value": 1.0}
    tree["power"]["idle"]["value"] = 590.0
    path = tmp_path / "near.yaml"
    path.write_text(yaml.safe_dump(tree))
    return scenario([pool() | {"hardware": str(path)}], [work()])


def test_a_share_stops_at_one_and_says_so(near_its_limits):
    rows = {row.parameter: row for row in measure_sensitivity(near_its_limits).rows}
    memory, overlap = rows["efficiency.memory"], rows["efficiency.overlap"]
    assert memory.better.least_share == pytest.approx(1.0 / 0.96 - 1.0)
    assert memory.worse.least_share == pytest.approx(0.1)
    assert overlap.better.obstacle == "at its limit"
    assert overlap.worse.changes["tpot_s.mean"] > 0.0
    assert rows["power.idle"].worse.least_share == pytest.approx(600.0 / 590.0 - 1.0)


def test_the_figures_are_those_of_a_run():
    described = one_client(16, 400)
    fleet = simulate(described).summary.fleet
    report = of_decoding()
    assert report.base["tpot_s.mean"] == fleet.tpot_s.mean
    assert report.base["e2e_s.p99"] == fleet.e2e_s.p99
    assert report.base["cost_per_completed_request_usd"] == fleet.cost_per_completed_request_usd
    assert report.seed == described.seed


def test_the_load_stays_the_same():
    """Arrivals are Poisson and lengths drawn: other draws would move figures that power cannot."""
    report = measure_sensitivity(scenario([pool()], [work(output={"distribution": "uniform", "low": 5, "high": 60})]))
    moved = effects(report, "ttft_s.mean")
    assert moved["power.peak"] == (0.0, 0.0)


def test_a_pool_is_chosen_by_its_name():
    pools = [pool("first"), pool("second", hardware="fast-chip")]
    both = scenario(pools, [work(rate=20.0)], horizon=0.5)
    assert measure_sensitivity(both).pools == ("first", "second")
    report = measure_sensitivity(both, pool="second")
    assert report.pools == ("second",)
    assert {number.pool for row in report.rows for number in row.numbers} == {"second"}
    with pytest.raises(InputError, match=r"--pool: unknown pool 'secnd'. Did you mean 'second'\?"):
        measure_sensitivity(both, pool="secnd")


def test_pools_with_other_chips_move_together():
    pools = [pool("first"), pool("second", hardware="fast-chip")]
    report = measure_sensitivity(scenario(pools, [work(rate=20.0)], horizon=0.5))
    memory = next(row for row in report.rows if row.parameter == "efficiency.memory")
    assert [number.pool for number in memory.numbers] == ["first", "second"]
    chips = [load_profile(chip(name), "here") for name in ("small-chip", "fast-chip")]
    assert [number.value for number in memory.numbers] == [each.efficiency.memory.value for each in chips]


def test_a_calibration_is_what_is_moved(tmp_path):
    """Deploying again must not put the calibrated numbers back in place of the moved ones."""
    point = Point(load_profile("nvidia-h100-sxm", "here"), load_engine("vllm", "here"))
    half = [0.5 if each.name == "memory" else number for each, number in zip(PARAMETERS, point.numbers, strict=True)]
    fitted = point.moved(np.array(half), "chosen for tests")
    errors = Errors(measurements=1, tpot_median=0.1, tpot_mean=0.1, tpot_p90=0.1, ttft_median=0.1)
    calibration = Calibration(
        schema=1, hardware="nvidia-h100-sxm", engine="vllm", unseen_rows=errors, host=fitted.host,
        fit=Fit(day=date(2026, 1, 1), measurements=1, models=("llama-3.1-8b",), source="chosen for tests"),
        efficiency=fitted.hardware.efficiency, overhead=fitted.hardware.overhead,
    )  # fmt: skip
    path = tmp_path / "fitted.yaml"
    path.write_text(calibration_text(calibration))
    report = measure_sensitivity(one_client(16, 400, calibration=str(path)))
    memory = next(row for row in report.rows if row.parameter == "efficiency.memory")
    assert [(number.value, number.provenance) for number in memory.numbers] == [(0.5, "fitted")]
    assert report.base["tpot_s.mean"] > 1.4 * of_decoding().base["tpot_s.mean"]
    assert memory.better.changes["tpot_s.mean"] < -0.05


@pytest.mark.parametrize("share", [0.0, -0.1, 1.0])
def test_a_share_outside_zero_and_one(share):
    with pytest.raises(InputError, match=r"--by: .* is not between 0 and 1"):
        measure_sensitivity(one_client(16, 16), share=share)


def test_nothing_arrives():
    with pytest.raises(InputError, match="workload: no request arrives"):
        measure_sensitivity(scenario([pool()], [work(rate=1e-6)]))
