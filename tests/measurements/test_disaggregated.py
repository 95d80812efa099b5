"""Disaggregated rows: who prefilled, who decoded, and how their two pools are played."""

from __future__ import annotations

import dataclasses

import pytest
from oracle.readings import only, refused

from inferencesim.experiments.accuracy import compare, measure_accuracy, plan_work
from inferencesim.experiments.calibrate import prepare
from inferencesim.experiments.reproduce import Reproduction
from inferencesim.measurements.measurement import Readings
from inferencesim.results.accuracy import NotReproduced

ROW = {
    "id": "x_disagg_1024x1024_c96_cfg1", "mode": "disagg", "batch_size": "", "tp_size": "", "osl": "1024",
    "prefill_num_workers": "3", "prefill_tp_size": "2", "prefill_attention_dp_size": "1",
    "decode_num_workers": "2", "decode_tp_size": "4", "decode_attention_dp_size": "1", "decode_batch_size": "48",
}  # fmt: skip
EXPERTS = {
    "model_path": "deepseek-ai/DeepSeek-R1", "system": "b200_sxm", "backend": "sglang",
    "prefill_tp_size": "1", "prefill_attention_dp_size": "8", "prefill_moe_tp_size": "8", "prefill_moe_ep_size": "1",
    "decode_tp_size": "8", "decode_attention_dp_size": "1", "decode_moe_tp_size": "1", "decode_moe_ep_size": "8",
}  # fmt: skip


def test_each_side_has_its_workers(silicon_of):
    measurement = only(silicon_of(ROW))
    setup = measurement.setup
    assert measurement.source == "silicon, disaggregated"
    assert (setup.replicas, setup.prefill.replicas) == (2, 3)
    assert setup.parallelism == {"tensor": 4, "pipeline": 1, "expert": 1, "attention_data": 1}
    assert setup.prefill.parallelism == {"tensor": 2, "pipeline": 1, "expert": 1, "attention_data": 1}
    # Whatever the launch scripts of single servers say is not of these.
    assert setup.batching == {}
    assert (measurement.load.concurrency, measurement.load.requests) == (96, 960)


def test_experts_and_attention_are_spread_over_the_same_chips(silicon_of):
    setup = only(silicon_of(ROW | EXPERTS)).setup
    assert setup.parallelism == {"tensor": 8, "pipeline": 1, "expert": 8, "attention_data": 1}
    assert setup.prefill.parallelism == {"tensor": 8, "pipeline": 1, "expert": 1, "attention_data": 8}
    assert "not stated" in refused(silicon_of(ROW | EXPERTS | {"decode_moe_ep_size": "0"}))
    assert "different numbers of chips" in refused(silicon_of(ROW | EXPERTS | {"prefill_moe_ep_size": "4"}))


def test_without_a_name_for_it_the_concurrency_is_what_the_decode_workers_hold(silicon_of):
    unnamed = {"id": "x_disagg_c_tpnone_1", "decode_attention_dp_size": "2"}
    assert only(silicon_of(ROW | unnamed)).load.concurrency == 48 * 2 * 2


def test_prompts_are_prefilled_in_a_pool_of_their_own(silicon_of):
    measurement = only(silicon_of(ROW | EXPERTS | {"isl": "1024"}))
    decode, prefill = Reproduction(measurement).plan.pools
    assert decode.spec.prefill_in.pool == prefill.name
    assert (decode.replicas, prefill.replicas) == (2, 3)
    # Each of eight attention ranks has a scheduler, and a budget, of its own.
    assert prefill.spec.batching.token_budget == 8 * decode.spec.batching.token_budget


def test_prefill_elsewhere_changes_the_figures_as_it_should(silicon_of):
    measurement = only(silicon_of(ROW))
    alone = dataclasses.replace(measurement, setup=dataclasses.replace(measurement.setup, prefill=None))
    apart, together = (compare(each).figures for each in (measurement, alone))
    # Nobody's answer waits for the prompts of others.
    assert apart["tpot"].predicted < together["tpot"].predicted
    fewer = dataclasses.replace(measurement.setup.prefill, replicas=1)
    narrow = dataclasses.replace(measurement, setup=dataclasses.replace(measurement.setup, prefill=fewer))
    assert compare(narrow).figures["ttft"].predicted > 1.5 * apart["ttft"].predicted


def test_they_are_a_set_of_their_own_and_no_fit_uses_them(silicon_of):
    measurement = only(silicon_of(ROW))
    report = measure_accuracy(plan_work(Readings((measurement,), (), 1)), data="")
    assert (report.total.rows, report.disaggregated.rows) == (1, 1)
    assert (report.calibrated.rows, report.class_priors.rows, report.step_tables.rows) == (0, 0, 0)
    ready, unsupported = prepare([measurement])
    assert ready == []
    assert "disaggregated" in unsupported[0].reason


def test_more_sequences_than_a_replica_runs(silicon_of):
    row = compare(only(silicon_of(ROW | {"id": "x_disagg_1024x1024_c9000_cfg1"})))
    assert isinstance(row, NotReproduced)
    assert row.reason == "more sequences on one decode worker than a replica runs"


@pytest.fixture(scope="module")
def shared(shared_measurements):
    """Return the disaggregated measurements of the shared table, by their ids."""
    from inferencesim.measurements.silicon import read_silicon

    readings = read_silicon(shared_measurements("silicon_ttft_tpot.csv"))
    return {one.id: one for one in readings.measurements if one.setup.prefill is not None}


@pytest.mark.parametrize(
    ("name", "tpot"),
    [
        ("dsr1_h200_trtllm_fp8_disagg_1024x1024_c36_cfg303", 0.15),
        ("dsr1_h200_trtllm_fp8_disagg_1024x1024_c576_cfg303", 0.10),
        ("dsr1_gb200_trtllm_fp4_disagg_1024x1024_c96_cfg388", 0.15),
    ],
)
def test_published_runs(shared, name, tpot):
    figures = compare(shared[name]).figures
    assert abs(figures["tpot"].error) < tpot
    assert 0.4 < figures["ttft"].predicted / figures["ttft"].measured < 1.6
