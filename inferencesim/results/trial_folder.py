"""The folder of a sweep: one small file per finished trial, named by the key of all that decides its figures.

::

    trials/<key>.json     written under another name, brought to the disk, and renamed: it is whole, or not there
    claims                locks, one byte per key, of the trials that somebody is at; a dead process holds none
    results.parquet       one row per trial of the last sweep that came to its end

Files of other sweeps may lie beside: a key is looked up, never listed. Folders are merged by copying ``trials``.
"""

from __future__ import annotations

import contextlib
import os
from typing import IO, TYPE_CHECKING, Self

from pydantic import ValidationError

from inferencesim.errors import InputError
from inferencesim.results.sweep import TrialResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from inferencesim.results.sweep import Sweep

RESULTS = "results.parquet"

#: Hexadecimal digits of a key that say which byte of the file of claims is its own.
_CLAIM_DIGITS = 15

#: The byte of who writes the results: behind those of all keys.
_RESULTS_BYTE = 16**_CLAIM_DIGITS

_REMEDY = "Finished trials are kept: make room or mend it, and start the same sweep again."


class TrialFolder:
    """Keeps finished trials; several processes may work in one folder. To be used as a context.

    The locks are those of POSIX (``fcntl``): the kernel gives them back when
    their process dies, however it dies, and NFS knows them.

    Parameters
    ----------
    path : Path
        Made if it does not exist.

    Raises
    ------
    InputError
        If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._trials = path / "trials"
        try:
            self._trials.mkdir(parents=True, exist_ok=True)
            self._claims: IO[bytes] = (path / "claims").open("ab")
        except OSError as problem:
            raise InputError(
                str(path), f"cannot be written ({problem.strerror})", "Name another folder with --out."
            ) from problem

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._claims.close()

    def read(self, key: str) -> TrialResult | None:
        """Return what a finished trial showed; None if it is not there, or no trial of this version."""
        try:
            text = (self._trials / f"{key}.json").read_text(encoding="utf-8")
            result = TrialResult.model_validate_json(text)
        except (FileNotFoundError, ValidationError, UnicodeDecodeError):
            return None
        except OSError as problem:
            raise InputError(str(self.path), f"cannot be read ({problem.strerror})") from problem
        return result if result.key == key else None

    def claim(self, key: str) -> bool:
        """Take a trial for this process; False if another one has it.

        Raises
        ------
        InputError
            Where the file system knows no locks.
        """
        import fcntl

        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte_of(key))
        except (BlockingIOError, PermissionError):
            return False
        except OSError as problem:
            what = f"its file system cannot lock ({problem.strerror})"
            raise InputError(str(self.path), what, "Name a folder on another one with --out.") from problem
        return True

    def release(self, key: str) -> None:
        """Give a claimed trial back."""
        import fcntl

        fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, _byte_of(key))

    def write(self, result: TrialResult) -> None:
        """Keep a finished trial, and give its claim back.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        text = result.model_dump_json(indent=1).encode() + b"\n"

        def save(target: Path) -> None:
            with target.open("wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())

        self._place(self._trials / f"{result.key}.json", save)
        self.release(result.key)

    def gather(self, sweep: Sweep) -> Path:
        """Write the table of all trials of a sweep, and return where it is.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        frame = sweep.frame
        # A column of Parquet has one type; what is no number is told in words.
        mixed = [axis.path for axis in sweep.axes if axis.unit is None]
        frame = frame.astype(dict.fromkeys(mixed, str))

        def save(target: Path) -> None:
            frame.to_parquet(target, index=False)

        with self._results_to_itself():
            self._place(self.path / RESULTS, save)
        return self.path / RESULTS

    @contextlib.contextmanager
    def _results_to_itself(self) -> Iterator[None]:
        import fcntl

        fcntl.lockf(self._claims, fcntl.LOCK_EX, 1, _RESULTS_BYTE)
        try:
            yield
        finally:
            fcntl.lockf(self._claims, fcntl.LOCK_UN, 1, _RESULTS_BYTE)

    @staticmethod
    def _place(path: Path, save: Callable[[Path], None]) -> None:
        """Let `save` write under a temporary name, which nobody else does meanwhile, and rename that to `path`."""
        temporary = path.with_name(f".{path.name}.writing")
        try:
            save(temporary)
            temporary.replace(path)
        except BaseException as problem:
            # A full disk is not made fuller by a torso of a file.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if isinstance(problem, OSError):
                what = f"cannot be written ({problem.strerror or problem})"
                raise InputError(str(path), what, _REMEDY) from problem
            raise


def _byte_of(key: str) -> int:
    return int(key[:_CLAIM_DIGITS], 16)
