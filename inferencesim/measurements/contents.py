"""A file looked into once: the header of a table, or the JSON documents in it. Its name plays no part."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Contents:
    """What is in a file.

    Attributes
    ----------
    path : Path
    columns : tuple of str
        The first line as the header of a CSV table; empty for JSON.
    documents : tuple of dict
        JSON objects: one, or one per line where results were appended.
    """

    path: Path
    columns: tuple[str, ...] = ()
    documents: tuple[dict[str, Any], ...] = ()


def look_into(path: Path) -> Contents:
    """Return what is in a file, as a table or as JSON objects.

    Raises
    ------
    InputError
        If it cannot be read as text, or begins as JSON and is none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(str(path), f"the file cannot be read ({problem})", "It must be text in UTF-8.") from problem
    if not text.lstrip().startswith(("{", "[")):
        header = next(csv.reader([text.split("\n", 1)[0].rstrip("\r")]), [])
        return Contents(path, columns=tuple(name.strip() for name in header))
    return Contents(path, documents=tuple(each for each in _documents(path, text) if isinstance(each, dict)))


def _documents(path: Path, text: str) -> list[Any]:
    """Return the JSON values that stand one after the other; a list counts as its elements."""
    decoder, values, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as problem:
            where = f"{path}, line {problem.lineno}"
            raise InputError(where, f"not JSON ({problem.msg})", "Export the result again.") from problem
        values += value if isinstance(value, list) else [value]
    return values


def dig(document: object, *path: str) -> Any:
    """Return what lies at a path of keys; nothing where the path breaks off."""
    for key in path:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def figure(document: object, *path: str) -> float | None:
    """Return the number above zero at a path of keys; nothing where there is none."""
    value = dig(document, *path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if value > 0 else None
