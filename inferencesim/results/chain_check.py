"""Follow the hash chain of a run folder, to tell whether what is there is what was written."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from inferencesim.errors import InputError
from inferencesim.ledger.sink import TABLES
from inferencesim.results.chain import Chaining
from inferencesim.results.findings import ChainFinding
from inferencesim.results.run_folder import MANIFEST, SUMMARY, part_file, part_files, read_part

if TYPE_CHECKING:
    from pathlib import Path

    from inferencesim.results.manifest import Chain, Link, Manifest

_HEAD = re.compile(r"[0-9a-f]{64}")

#: The link of the chain that is no part of a table.
_SUMMARY_LINK = "summary"


def check_chain(path: Path, manifest: Manifest, expected: str | None = None) -> ChainFinding:
    """Compute the chain of a run folder anew, and compare it with the one in its manifest.

    Parameters
    ----------
    path : Path
        The run folder.
    manifest : Manifest
        Its manifest.
    expected : str, optional
        The head that was kept when the run was made. Whoever changes a row can also write a new chain into the
        manifest; its head is then another.

    Raises
    ------
    InputError
        If `expected` is no head.
    """
    if expected is not None and not _HEAD.fullmatch(expected):
        raise InputError("--expect", f"{expected!r} is no head", "Give the 64 hexadecimal digits `run` printed.")
    if manifest.chain is None:
        why = "the run never came to its end, and only then is its chain closed"
        if manifest.status == "complete":
            why = "it was taken out of the manifest, or the run is of a version that made none"
        state = "unproven" if expected is None and manifest.status != "complete" else "changed"
        return ChainFinding(state=state, head=None, why=f"There is no chain: {why}.")
    chaining = Chaining(_document(path / MANIFEST))
    found = _first_change(path, manifest.chain, chaining)
    if found is not None:
        return ChainFinding(state="changed", head=None, why=found)
    if expected is not None and expected != chaining.head:
        why = f"The chain is whole but not the one expected: rows were changed and the chain written anew ({expected})."
        return ChainFinding(state="changed", head=chaining.head, why=why)
    parts = len(manifest.chain.links)
    why = f"All {parts:,} links are as they were written"
    why += "." if expected is not None else "; whether the chain was written anew, only --expect HEAD can tell."
    return ChainFinding(state="unchanged", head=chaining.head, why=why)


def _first_change(path: Path, chain: Chain, chaining: Chaining) -> str | None:
    """Follow the chain; say what is the first thing that is not as it was written."""
    if chaining.start != chain.start:
        return f"{MANIFEST}: scenario, seed, versions or profiles are not those the run was made with."
    for link in chain.links:
        name, head = _follow(path, link, chaining)
        if head is None:
            return f"{name}: is missing or cannot be read."
        if head != link.head:
            return f"{name}: its rows are not those that were written."
    if chaining.head != chain.head:
        return f"{MANIFEST}: the head is not that of the last link."
    known = {part_file(path, link.table, link.part) for link in chain.links}
    for table in TABLES:
        for file in part_files(path, table):
            if file not in known:
                return f"{file.relative_to(path)}: was added after the run."
    return None


def _follow(path: Path, link: Link, chaining: Chaining) -> tuple[str, str | None]:
    """Take in what a link is of; return its file's name and the head, None if there is nothing to read."""
    file = path / SUMMARY if link.table == _SUMMARY_LINK else part_file(path, link.table, link.part)
    name = str(file.relative_to(path))
    try:
        if link.table == _SUMMARY_LINK:
            return name, chaining.add_document(_SUMMARY_LINK, _document(file))
        return name, chaining.add_part(link.table, link.part, read_part(file))
    except InputError:
        return name, None


def _document(file: Path) -> dict[str, Any]:
    """Read a document as it stands there, whatever version wrote it."""
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InputError(str(file), f"cannot be read ({problem})") from problem
    return document
