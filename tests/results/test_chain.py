"""The hash chain: every change of a row is found, and nothing else is one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from doctoring import another, doctor, rebuild_chain, rewrite, with_cell
from hypothesis import given
from hypothesis import strategies as st
from oracle.small import pool, scenario, work
from pyarrow import parquet

from inferencesim import Run, simulate
from inferencesim.errors import InputError
from inferencesim.results.chain import Chaining, canonical_bytes
from inferencesim.results.chain_check import check_chain
from inferencesim.results.run_folder import part_file, read_part
from inferencesim.simulation import state

TABLES = ("requests", "decisions", "series")


def small(**said):
    return scenario(
        [pool("a", replicas=2), pool("b", precision={"weights": "fp8", "activations": "bf16"}, queue_limit=2)],
        [work("chat", rate=60.0, promise={"ttft": 0.5}), work("exact", rate=30.0, precision="bf16")],
        horizon=4.0,
        **said,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run in several parts; tests change copies of it."""
    folder = tmp_path_factory.mktemp("chain") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "CHUNK_ROWS", 100)
        patch.setattr(state.new_fleet, "__kwdefaults__", {"done_rows": 100})
        simulate(small(), out=folder)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def checked(folder, expected=None):
    return check_chain(folder, Run.load(folder).manifest, expected)


def test_what_was_written_is_unchanged(written):
    found = checked(written)
    assert found.state == "unchanged"
    assert found.head == Run.load(written).manifest.chain.head
    assert len([each for each in Run.load(written).manifest.chain.links if each.table == "requests"]) > 1


def test_equal_runs_have_equal_heads_and_others_do_not(tmp_path):
    heads = [simulate(small(), seed, out=tmp_path / name).manifest.chain.head for name, seed in zip("abc", (1, 1, 2))]  # noqa: B905
    assert heads[0] == heads[1] != heads[2]


def test_a_run_in_memory_has_none():
    assert simulate(small()).manifest.chain is None


@pytest.mark.parametrize("table", TABLES)
def test_one_changed_cell_is_found_in_every_column(folder, table):
    file = part_file(folder, table, 0)
    original = read_part(file)
    for column in original.column_names:
        cells = original.column(column).to_pylist()
        row = next((place for place, cell in enumerate(cells) if cell is not None), 0)
        value = another(cells[row])
        if value is None:  # a column without a value: give it one
            value = "x" if pa.types.is_dictionary(original.schema.field(column).type) else 1
        parquet.write_table(with_cell(original, column, row, value), file)
        found = checked(folder)
        assert found.state == "changed", column
        assert f"{table}/part-00000.parquet" in found.why
    parquet.write_table(original, file)
    assert checked(folder).state == "unchanged"


def test_a_value_taken_away_is_found(folder):
    doctor(folder, "requests", finished_s=None)
    assert checked(folder).state == "changed"


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.take([1, 0, *range(2, rows.num_rows)]),
        lambda rows: rows.slice(1),
        lambda rows: rows.slice(0, rows.num_rows - 1),
        lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
        lambda rows: rows.drop_columns(["task"]),
        lambda rows: rows.select([*reversed(rows.column_names)]),
        lambda rows: rows.rename_columns({"ttft_s": "tpot_s", "tpot_s": "ttft_s"}),
        lambda rows: rows.set_column(0, "request_id", rows.column("request_id").cast(pa.float64())),
    ],
    ids=["order", "first row", "last row", "doubled row", "column", "order of columns", "names of columns", "type"],
)
def test_rows_and_columns_may_not_move(folder, change):
    rewrite(folder, "requests", change, part=1)
    found = checked(folder)
    assert found.state == "changed"
    assert "requests/part-00001.parquet" in found.why


class TestParts:
    def test_a_missing_one_is_named(self, folder):
        part_file(folder, "decisions", 1).unlink()
        assert "decisions/part-00001.parquet" in checked(folder).why

    def test_an_added_one_is_named(self, folder):
        shutil.copy(part_file(folder, "series", 0), part_file(folder, "series", 99))
        assert "series/part-00099.parquet" in checked(folder).why

    def test_two_that_changed_places_are_found(self, folder):
        one, other = part_file(folder, "requests", 0), part_file(folder, "requests", 1)
        one.rename(folder / "aside")
        other.rename(one)
        (folder / "aside").rename(other)
        assert "requests/part-00000.parquet" in checked(folder).why

    def test_a_damaged_one_is_named(self, folder):
        part_file(folder, "requests", 0).write_bytes(b"PAR1")
        assert "requests/part-00000.parquet" in checked(folder).why


class TestDocuments:
    def edit(self, folder, name, change):
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))

    def test_the_scenario_may_not_change(self, folder):
        self.edit(folder, "manifest.json", lambda each: each["scenario"]["workload"][1].update(precision=None))
        assert checked(folder).why.startswith("manifest.json: scenario")

    def test_nor_the_summary(self, folder):
        self.edit(folder, "summary.json", lambda each: each["fleet"].update(cost_usd=0.0))
        assert "summary.json" in checked(folder).why

    def test_nor_the_head(self, folder):
        self.edit(folder, "manifest.json", lambda each: each["chain"].update(head="0" * 64))
        assert checked(folder).state == "changed"

    def test_layout_of_the_text_does_not_matter(self, folder):
        for name in ("manifest.json", "summary.json"):
            self.edit(folder, name, lambda each: None)
        assert checked(folder).state == "unchanged"


@pytest.mark.parametrize(
    "how",
    [
        {"compression": "gzip"},
        {"compression": "none", "use_dictionary": False},
        {"row_group_size": 7},
        {"version": "1.0", "store_schema": False},
    ],
    ids=str,
)
def test_the_same_rows_in_another_file_are_no_change(folder, how):
    for table in TABLES:
        for file in sorted((folder / table).iterdir()):
            parquet.write_table(read_part(file), file, **how)
    assert checked(folder).state == "unchanged"


def test_other_dictionaries_are_no_change(folder):
    def plain(rows):
        kinds = [
            pa.field(each.name, pa.string() if pa.types.is_dictionary(each.type) else each.type) for each in rows.schema
        ]
        return rows.cast(pa.schema(kinds))

    rewrite(folder, "requests", plain)
    assert checked(folder).state == "unchanged"


class TestARewrittenChain:
    def test_only_the_head_one_kept_tells(self, folder):
        head = checked(folder).head
        doctor(folder, "requests", attributed_cost_usd=0.0)
        new = rebuild_chain(folder)
        assert new != head
        assert checked(folder).state == "unchanged"
        assert "--expect" in checked(folder).why
        assert checked(folder, head).state == "changed"
        assert checked(folder, new).state == "unchanged"

    def test_what_is_no_head_is_refused(self, folder):
        with pytest.raises(InputError, match="--expect"):
            checked(folder, "abc")

    def test_a_chain_taken_away_does_not_pass_for_the_one_expected(self, folder):
        head = checked(folder).head
        document = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(document | {"chain": None}))
        found = checked(folder)
        assert found.state == "changed"
        assert "taken out of the manifest" in found.why
        assert checked(folder, head).state == "changed"
        # Of a run that did not come to its end there is none yet.
        document |= {"chain": None, "status": "incomplete"}
        (folder / "manifest.json").write_text(json.dumps(document))
        assert checked(folder).state == "unproven"


cells = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=6).map(
        lambda each: pa.array(each, pa.int64())
    ),
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), max_size=6).map(
        lambda each: pa.array(each, pa.float64())
    ),
    st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab"])), max_size=6).map(
        lambda each: pa.array(each, pa.string())
    ),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=6).map(lambda each: pa.array(each, pa.bool_())),
)


def written_as(column):
    return b"".join(bytes(each) for each in canonical_bytes("t", pa.table({"c": column})))


@given(cells, cells)
def test_bytes_are_equal_where_columns_are_and_only_there(one, other):
    bits = lambda each: [(type(cell), np.float64(cell).tobytes() if isinstance(cell, float) else cell) for cell in each]  # noqa: E731
    same = one.type == other.type and bits(one.to_pylist()) == bits(other.to_pylist())
    assert (written_as(one) == written_as(other)) == same


@given(cells, st.integers(0, 6))
def test_chunks_and_slices_do_not_matter(column, at):
    at = min(at, len(column))
    table = pa.table({"c": pa.chunked_array([column.slice(0, at), column.slice(at)], column.type)})
    assert b"".join(bytes(each) for each in canonical_bytes("t", table)) == written_as(column)


def test_a_number_of_rows_is_part_of_a_column_that_says_the_same_in_all():
    chains = [Chaining({}), Chaining({})]
    for chain, rows in zip(chains, (2, 3), strict=True):
        chain.add_part("t", 0, pa.table({"c": [7] * rows}))
    assert chains[0].head != chains[1].head
