"""What somebody with a text editor and pyarrow can do to a run folder."""

from __future__ import annotations

import json

import pyarrow as pa
from pyarrow import parquet

from inferencesim import Run
from inferencesim.ledger.sink import TABLES
from inferencesim.results.chain import Chaining
from inferencesim.results.run_folder import part_file, part_files, read_part


def rewrite(folder, table, change, part=0):
    """Replace the rows of a part by what `change` makes of them."""
    file = part_file(folder, table, part)
    parquet.write_table(change(read_part(file)), file)


def with_cell(rows, column, row, value):
    """Return rows with one cell changed; None makes it null."""
    place = rows.schema.get_field_index(column)
    cells = rows.column(column).to_pylist()
    cells[row] = value
    kind = rows.schema.field(column).type
    plain = pa.array(cells, pa.string() if pa.types.is_dictionary(kind) else kind)
    return rows.set_column(place, column, plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain)


def another(value):
    """Return another value of the same type."""
    if value is None:
        return None
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value + 1e-9 * max(1.0, abs(value))
    return value + "x"


def doctor(folder, table, **cells):
    """Set columns of the first row of a table (the rows of the first part)."""

    def change(rows):
        for column, value in cells.items():
            rows = with_cell(rows, column, 0, value)
        return rows

    rewrite(folder, table, change)


def rebuild_chain(folder):
    """Write a chain over what is there now into the manifest; return its head."""
    manifest = json.loads((folder / "manifest.json").read_text())
    chaining = Chaining(manifest)
    for table in TABLES:
        for number, file in enumerate(part_files(folder, table)):
            chaining.add_part(table, number, read_part(file))
    chaining.add_document("summary", json.loads((folder / "summary.json").read_text()))
    manifest["chain"] = chaining.closed().model_dump(mode="json")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Run.load(folder).manifest.chain.head
