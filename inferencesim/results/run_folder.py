"""The folder of a run: written piece by piece, so that what was written survives whatever comes.

::

    manifest.json                    first, as "incomplete"; again as "complete" at the end
    requests/part-00000.parquet …    likewise decisions/ and series/
    summary.json                     last but one

The manifest also keeps the hash chain over all of it
(:mod:`inferencesim.results.chain`). Every file is written under a temporary name and renamed, so that no reader
meets half of one. Parts are encoded, written and chained beside the simulation, for a second processor.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, Self, TypeVar

from pydantic import ValidationError

from inferencesim.errors import InputError
from inferencesim.ledger.sink import TABLES
from inferencesim.results.background import Background
from inferencesim.results.chain import Chaining
from inferencesim.results.manifest import Manifest, TableParts
from inferencesim.results.records.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

MANIFEST = "manifest.json"
SUMMARY = "summary.json"

R = TypeVar("R", Manifest, Summary)


#: Parts that may wait to be written: those of one flush without tasks.
_PARTS_WAITING = 3


class FolderSink:
    """Writes the tables of a run as Parquet part files; in a ``with`` block, at whose end no more is written.

    Parameters
    ----------
    path : Path
        Made if it does not exist.
    force : bool
        Whether the run that is there may be replaced.

    Raises
    ------
    InputError
        If the folder holds something else, holds a run and `force` is false, or cannot be written.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self.path = path
        self._parts = dict.fromkeys(TABLES, 0)
        self._rows = dict.fromkeys(TABLES, 0)
        self._chain = Chaining({})
        self._background = Background(_PARTS_WAITING)
        self._check(force)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._background.close()

    def _check(self, force: bool) -> None:
        """Refuse a folder that may not be used; change nothing yet."""
        path = self.path
        try:
            present = path.exists() and any(path.iterdir())
        except OSError as problem:
            raise _unwritable(path, problem, "Name another folder with --out.") from problem
        if not present:
            return
        if not (path / MANIFEST).is_file():
            raise InputError(str(path), "is not empty, and holds no run", "Name another folder with --out.")
        if not force:
            raise InputError(
                str(path), "holds a run already", "Name another folder with --out, or replace it with --force."
            )

    def begin(self, manifest: Manifest) -> None:
        """Make the folder, clear away the run it replaces, and write the manifest, with which the chain starts.

        Only once the new run is ready to start.

        Raises
        ------
        InputError
            If the folder cannot be written.
        """
        path = self.path
        try:
            path.mkdir(parents=True, exist_ok=True)
            # Only what a run consists of: notes and plots a person put beside it stay.
            for name in (SUMMARY, MANIFEST):
                (path / name).unlink(missing_ok=True)
            for table in TABLES:
                if (path / table).is_dir():
                    shutil.rmtree(path / table)
        except OSError as problem:
            raise _unwritable(path, problem, "Name another folder with --out.") from problem
        self._chain = Chaining(manifest.model_dump(mode="json"))
        self._write_manifest(manifest)

    def write(self, name: str, part: pa.Table) -> None:
        """Write the next rows of table `name` as a file of their own; soon, and in the order of the calls.

        Raises
        ------
        InputError
            If one given before cannot be written; the parts before that one stay readable.
        """
        self._background.do(lambda: self._write(name, part))

    def settle(self) -> None:
        """Wait until everything given so far is written.

        Raises
        ------
        InputError
            If it cannot be.
        """
        self._background.settle()

    def _write(self, name: str, part: pa.Table) -> None:
        number = self._parts[name]
        self._place(part_file(self.path, name, number), lambda target: _write_parquet(part, target))
        self._chain.add_part(name, number, part)
        self._parts[name] += 1
        self._rows[name] += part.num_rows

    def finish(self, manifest: Manifest, summary: Summary) -> Manifest:
        """Write the summary, then the manifest as complete, with what was written and its chain; return it.

        Raises
        ------
        InputError
            If anything cannot be written.
        """
        self.settle()
        self._place(self.path / SUMMARY, lambda target: _write_json(summary, target))
        self._chain.add_document("summary", summary.model_dump(mode="json"))
        tables = tuple(TableParts(table=name, parts=self._parts[name], rows=self._rows[name]) for name in TABLES)
        complete = {"status": "complete", "tables": tables, "chain": self._chain.closed()}
        manifest = manifest.model_copy(update=complete)
        self._write_manifest(manifest)
        return manifest

    def _write_manifest(self, manifest: Manifest) -> None:
        self._place(self.path / MANIFEST, lambda target: _write_json(manifest, target))

    def _place(self, path: Path, save: Callable[[Path], None]) -> None:
        """Let `save` write under a temporary name, and rename that to `path`."""
        temporary = path.with_name(f".{path.name}.writing")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save(temporary)
            temporary.replace(path)
        except OSError as problem:
            self._clear(temporary)
            remedy = "What was written before it is readable; the run is marked incomplete."
            raise _unwritable(path, problem, remedy) from problem
        except BaseException:
            self._clear(temporary)
            raise

    @staticmethod
    def _clear(temporary: Path) -> None:
        # A full disk is not made fuller by a torso of a file.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def next_run_folder(parent: Path, name: str, seed: int) -> Path:
    """Return the first of ``<name>-<seed>-1``, ``-2`` … that does not exist in `parent`."""
    number = 1
    while (path := parent / f"{name}-{seed}-{number}").exists():
        number += 1
    return path


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a run folder.

    Raises
    ------
    InputError
        If there is no such folder, or it is no run of this version.
    """
    if not path.exists():
        raise InputError(str(path), "there is no such run folder", "`inferencesim run` prints where it writes.")
    if not path.is_dir():
        run = next((folder for folder in path.parents if (folder / MANIFEST).is_file()), None)
        remedy = "`inferencesim run` prints the folder it writes." if run is None else f"Give that folder, '{run}'."
        raise InputError(str(path), "is a file, and a run is a folder", remedy)
    return _read_record(path, MANIFEST, Manifest)


def read_summary(path: Path) -> Summary:
    """Read the summary of a run folder.

    Raises
    ------
    InputError
        If there is none, as when the run was interrupted.
    """
    if not (path / SUMMARY).is_file():
        raise InputError(
            str(path),
            "the run is incomplete and has no summary",
            "Its tables can be read; run the scenario again for a summary.",
        )
    return _read_record(path, SUMMARY, Summary)


def read_table(path: Path, name: str) -> pa.Table | None:
    """Return all parts of a table as one; None if none was written.

    Raises
    ------
    InputError
        If a part is damaged.
    """
    import pyarrow as pa

    parts = [read_part(file) for file in part_files(path, name)]
    if not parts:
        return None
    # Whoever rewrites a part may lose that a column has a value in each row.
    return pa.concat_tables(parts, promote_options="default").unify_dictionaries().combine_chunks()


def part_files(path: Path, name: str) -> list[Path]:
    """Return the files of a table, in order."""
    return sorted((path / name).glob("part-*.parquet"))


def part_file(path: Path, name: str, number: int) -> Path:
    """Return the file of one part of a table."""
    return path / name / f"part-{number:05d}.parquet"


def read_part(file: Path) -> pa.Table:
    """Read one part of a table.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_table(file, partitioning=None)
    except (OSError, pa.ArrowException) as problem:
        raise InputError(str(file), f"cannot be read ({problem})", "Run the scenario again.") from problem


def _read_record(path: Path, name: str, kind: type[R]) -> R:
    file = path / name
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(str(path), f"is not a run folder: it has no {name}") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(str(file), f"cannot be read ({problem})") from problem
    try:
        return kind.model_validate_json(text)
    except ValidationError as problem:
        found = problem.errors()[0]
        place = ".".join(str(part) for part in found["loc"])
        raise InputError(
            str(file),
            f"is not a {kind.__name__.lower()} of this version ({place or 'JSON'}: {found['msg']})",
            "Run the scenario again with this version.",
        ) from None


def _write_parquet(part: pa.Table, target: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    # Writing is most of what evidence costs. Dictionaries pay for names alone; for measured numbers, each its own, they
    # double the time of a write. Zstandard takes half as long again as Snappy, to make the files a quarter smaller.
    names = [field.name for field in part.schema if pyarrow.types.is_dictionary(field.type)]
    parquet.write_table(
        part,
        target,
        compression="snappy",
        use_dictionary=names,
        write_statistics=False,
        write_batch_size=max(1, part.num_rows),
    )


def _write_json(record: Manifest | Summary, target: Path) -> None:
    text = json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    target.write_text(text + "\n", encoding="utf-8")


def _unwritable(path: Path, problem: OSError, remedy: str) -> InputError:
    return InputError(str(path), f"cannot be written ({problem.strerror or problem})", remedy)
