"""A step table gives what was measured at its points, straight lines between them, and nothing outside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from deploying import deployed
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from inferencesim.deployment.latency import StepTimes, decode_line, latency_models, latency_of, step_cost
from inferencesim.deployment.step_table import StepTable, load_step_table, write_step_table
from inferencesim.deployment.step_time import MixedStep
from inferencesim.errors import InputError
from inferencesim.hardware.catalog import load_profile
from inferencesim.jit import plain
from inferencesim.models.catalog import load_model

if TYPE_CHECKING:
    from inferencesim.deployment.deployment import Deployment
    from inferencesim.deployment.step_time import StepCost

FILE = Path(__file__).parents[1] / "oracle" / "data" / "small-table.yaml"
TABLE = load_step_table(str(FILE), "here")
BATCHING = {"max_sequences": 20, "token_budget": 100}


def measured(**fields: Any) -> Deployment:
    """Deploy the small model on the small chip with its step table."""
    data = FILE.parent
    said = {"engine": "generic", "batching": BATCHING, "latency": {"table": str(FILE)}}
    chip, model = (
        load_profile(str(data / "small-chip.yaml"), "here"),
        load_model(str(data / "small-model.yaml"), "here"),
    )
    return deployed(chip, model, **{**said, **fields})


DEPLOYED = measured()


def cost_of(
    deployment: Deployment, decoding: float, context: float, chunks: tuple[tuple[float, float], ...] = (), ends: int = 0
) -> StepCost:
    """Return the cost of a step with chunks (before, tokens)."""
    tokens = sum(count for _, count in chunks)
    pairs = sum(count * (before + count / 2.0) for before, count in chunks)
    read = sum(before + count for before, count in chunks)
    arguments = (decoding, context, len(chunks), tokens, pairs, pairs, read, ends)
    return step_cost(deployment.latency, MixedStep(*(float(argument) for argument in arguments)))


def naive_ms(decoding: float, mean: float, chunk: float = 0.0, before: float = 0.0, chunks: int = 0) -> float:
    """Add up the parts with other people's interpolation; each chunk ends its prompt."""

    def surface(rows: Any, columns: Any, ms: Any, row: float, column: float) -> float:
        inside = [[max(row, rows[0]), max(column, columns[0])]]
        return float(RegularGridInterpolator((rows, columns), np.array(ms))(inside)[0])

    total = TABLE.constant
    total += float(np.interp(decoding + chunks * chunk, TABLE.tokens.at, TABLE.tokens.ms))
    total += float(np.interp(decoding + chunks, TABLE.sequences.at, TABLE.sequences.ms))
    if decoding:
        part = TABLE.decode
        total += surface(part.batch, part.context, part.ms, decoding, mean)
    if chunks:
        rows = TABLE.prefill
        total += chunks * surface(rows.chunk, rows.before, rows.ms, chunk, before)
    return total


def test_at_a_measured_point_the_time_is_the_measured_one():
    # 4 sequences of 64 tokens and two chunks of 16 after 40 are points; 36 tokens and 6 outputs are not.
    step = cost_of(DEPLOYED, 4, 4 * 64, ((40, 16), (40, 16)), 2)
    tokens = 1.5 + (36 - 10) / 40 * 4.5
    outputs = 0.5 + (6 - 4) / 16 * 2.5
    assert step.seconds == pytest.approx((0.5 + tokens + outputs + 4.0 + 2 * 1.5) * 1e-3, rel=1e-12)


@given(st.integers(0, 18), st.floats(1.0, 256.0), st.floats(1.0, 40.0), st.floats(0.0, 260.0), st.integers(0, 2))
def test_between_points_it_is_what_a_naive_sum_says(decoding, mean, chunk, before, chunks):
    if not decoding and not chunks:
        return
    if not decoding:
        mean = 0.0
    step = cost_of(DEPLOYED, decoding, decoding * mean, ((before, chunk),) * chunks, chunks)
    assert step.seconds * 1e3 == pytest.approx(naive_ms(decoding, mean, chunk, before, chunks), rel=1e-9)


@given(st.integers(1, 20), st.floats(1.0, 255.0), st.floats(0.0, 1.0))
def test_the_decode_line_is_the_step_without_prefill_up_to_the_next_point(decoding, mean, further):
    context = decoding * mean
    line = decode_line(DEPLOYED.latency, float(decoding), context)
    bends = [decoding * each for each in TABLE.decode.context if decoding * each > context]
    # On the last piece nothing bends any more.
    assert line.limit == (bends[0] if len(bends) > 1 else math.inf)
    total = context + further * (bends[0] - context)
    step = cost_of(DEPLOYED, decoding, total)
    assert line.fixed_s + line.slope_s * total == pytest.approx(step.seconds, rel=1e-9)


@given(
    st.tuples(st.integers(1, 19), st.floats(1.0, 250.0), st.floats(1.0, 40.0), st.floats(0.0, 250.0)),
    st.integers(0, 3),
    st.floats(0.0, 6.0),
)
def test_more_work_never_takes_less_time(work, grown, by):
    decoding, mean, chunk, before = work
    less = cost_of(DEPLOYED, decoding, decoding * mean, ((before, chunk),), 1).seconds
    decoding, mean, chunk, before = (
        each + (int(by > 3.0) if index == 0 else by) * (index == grown) for index, each in enumerate(work)
    )
    more = cost_of(DEPLOYED, decoding, decoding * mean, ((before, chunk),), 1).seconds
    assert more >= less * (1.0 - 1e-12)


def test_below_its_first_point_a_part_keeps_its_value():
    assert decode_line(DEPLOYED.latency, 1.0, 3.0).slope_s == 0.0
    assert decode_line(DEPLOYED.latency, 1.0, 3.0).limit == 8.0
    assert cost_of(DEPLOYED, 1, 3).seconds == cost_of(DEPLOYED, 1, 8).seconds
    assert cost_of(DEPLOYED, 0, 0, ((0, 1),), 1).seconds == cost_of(DEPLOYED, 0, 0, ((0, 2),), 1).seconds


def test_a_step_that_samples_nothing_pays_no_head():
    whole, part = (cost_of(DEPLOYED, 0, 0, ((0, 50),), ends) for ends in (1, 0))
    assert whole.seconds - part.seconds == pytest.approx(0.25e-3)


def test_tables_and_analytic_models_lie_side_by_side():
    other = TABLE.model_copy(update={"constant": 7.0})
    c = DEPLOYED.coefficients
    models = latency_models([StepTimes(c, TABLE), StepTimes(c), StepTimes(c, other)])
    lines = [decode_line(plain(latency_of)(models, row), 3.0, 90.0) for row in range(3)]
    alone = decode_line(plain(latency_of)(latency_models([StepTimes(c)]), 0), 3.0, 90.0)
    assert lines[1] == alone
    assert lines[0] == decode_line(DEPLOYED.latency, 3.0, 90.0)
    assert lines[2].fixed_s - lines[0].fixed_s == pytest.approx(6.5e-3)


def test_the_dynamic_energy_is_that_of_the_same_work():
    """A slower engine moves the same bytes: it draws idle power for longer, not more dynamic power."""
    analytic = measured(latency=None)
    for chunks in ((), ((0, 30),)):
        slow, usual = (cost_of(each, 4, 200, chunks, len(chunks)) for each in (DEPLOYED, analytic))
        assert slow.seconds > usual.seconds
        assert slow.active_s == usual.active_s > 0.0


def test_dynamic_power_lasts_no_longer_than_the_step():
    quick = TABLE.model_dump(by_alias=True)
    for part in ("tokens", "sequences", "decode", "prefill"):
        quick[part]["ms"] = (np.array(quick[part]["ms"]) * 1e-4).tolist()
    quick["constant"] = 0.0
    models = latency_models([StepTimes(DEPLOYED.coefficients, StepTable.model_validate(quick))])
    line = decode_line(plain(latency_of)(models, 0), 4.0, 200.0)
    assert line.fixed_active_s + line.slope_active_s * 200.0 <= (line.fixed_s + line.slope_s * 200.0) * (1 + 1e-12)


def test_a_written_table_reads_back(tmp_path):
    path = tmp_path / "table.yaml"
    write_step_table(TABLE, path)
    assert load_step_table(str(path), "here") == TABLE


def broken(**changes: Any) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load(FILE.read_text())
    for path, value in changes.items():
        *parts, last = path.split("__")
        place = tree
        for part in parts:
            place = place[part]
        place[last] = value
    return tree


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (broken(tokens__ms=[1.0, 1.5, 1.2, 16.0]), r"tokens: ms falls from 1.5 to 1.2 at at 50"),
        (broken(sequences__at=[1, 4, 4]), "sequences: at must rise: 4 stands after 4"),
        (broken(sequences__ms=[0.25, 0.5]), "sequences: ms needs 3 values"),
        (broken(decode__ms=[[0.5, 0.75, 2.0, 3.0]]), "decode: ms needs 3 rows, one per batch, of 4 values"),
        (broken(prefill__ms=[[0.5, 1, 2], [0.75, 1.5, 4], [4, 12, 3]]), "prefill: ms falls from 12 to 3 at before 300"),
        (
            broken(prefill__ms=[[0.5, 1, 2], [0.4, 1.5, 4], [4, 12, 40]]),
            "prefill: ms falls from 0.5 to 0.4 at chunk 16",
        ),
        (broken(hardwear="x"), "unknown key 'hardwear'. Did you mean 'hardware'"),
    ],
)
def test_a_table_that_is_none_is_refused_at_the_place(tmp_path, tree, said):
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(InputError) as refused:
        load_step_table(str(path), "pools[0].latency.table")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "where", "what"),
    [
        ({"batching": BATCHING | {"max_sequences": 21}}, "batching.max_sequences", "measured up to 20 sequences"),
        ({"batching": BATCHING | {"token_budget": 101}}, "batching.token_budget", "measured up to 100 tokens"),
        ({"tensor": 2}, "latency.table", "measured with parallelism.tensor 1, and the pool has 2"),
        ({"pipeline": 2}, "latency.table", "measured with parallelism.pipeline 1, and the pool has 2"),
        ({"precision": "int4"}, "latency.table", "measured with precision.weights bf16, and the pool has int4"),
        ({"latency": {"table": "nowhere.yaml"}}, "latency.table", "there is no file 'nowhere.yaml'"),
    ],
)
def test_a_pool_outside_its_table_is_refused(fields, where, what):
    with pytest.raises(InputError) as refused:
        measured(**fields)
    assert refused.value.where == f"pools[0].{where}"
    assert what in refused.value.what


def test_an_engine_that_reports_its_kv_capacity_is_believed():
    assert measured(kv_blocks=77).memory.kv_tokens == 77 * 16


def test_measured_times_know_nothing_of_drafts():
    with pytest.raises(InputError) as caught:
        measured(
            batching={"max_sequences": 20, "token_budget": 100},
            speculation={"drafts": 2, "acceptance": 0.5, "draft": {"layers": 1}},
        )
    assert caught.value.where == "pools[0].speculation"
    assert "measured" in caught.value.what
