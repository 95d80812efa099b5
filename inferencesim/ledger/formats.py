"""Columns of the tables: names for codes, null for what is not there, the version on all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

#: Version of the tables' columns; every file carries it.
SCHEMA_VERSION = 1


def named(codes: NDArray[np.integer], names: Sequence[str], missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return a column of names, by their codes."""
    indices = pa.array(codes.astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(names), pa.string()))


def maybe(values: NDArray[np.float64]) -> pa.Array:
    """Return a column in which NaN has become null."""
    return pa.array(values, from_pandas=True)


def rare(values: NDArray[np.float64]) -> pa.Array:
    """Return such a column of what most runs have nothing of."""
    return pa.nulls(values.size, pa.float64()) if np.isnan(values).all() else maybe(values)


def versioned(columns: Mapping[str, pa.Array | NDArray[Any]]) -> pa.Table:
    """Return the table of these columns; a plain array has a value in each row, and its column says so."""
    fields = [pa.field(name, _type_of(column), isinstance(column, pa.Array)) for name, column in columns.items()]
    return pa.table(dict(columns), pa.schema(fields, {"inferencesim_schema": str(SCHEMA_VERSION)}))


def _type_of(column: pa.Array | NDArray[Any]) -> pa.DataType:
    return column.type if isinstance(column, pa.Array) else pa.from_numpy_dtype(column.dtype)
