"""Another version of the package, or of policies beside it, that plays the same work in a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import platformdirs

from inferencesim.errors import InputError
from inferencesim.experiments import play_for_another
from inferencesim.experiments.curve_points import seen_of
from inferencesim.experiments.planning.load import with_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inferencesim.experiments.curve_points import Seen
    from inferencesim.scenario.scenario import Scenario


@dataclass(frozen=True)
class OtherVersion:
    """Where another version is found.

    Attributes
    ----------
    name : str
        In words.
    option : str
        What asked for it, named in errors.
    python : str
        The interpreter.
    folders : tuple of Path
        Where it imports from first.
    """

    name: str
    option: str
    python: str
    folders: tuple[Path, ...] = ()

    def see(
        self,
        scenario: Scenario,
        loads: Sequence[float],
        seeds: Sequence[int],
        metrics: Sequence[str],
        progress: Callable[[float, float], None] | None = None,
    ) -> tuple[Seen, ...]:
        """Play a scenario at every load with every seed; as :func:`inferencesim.experiments.curve_points.see`.

        Raises
        ------
        InputError
            If it cannot be started, refuses the scenario, or lacks a figure.
        """
        # Only what the scenario says: an older version may not know the fields whose defaults would be written out.
        trees = [_said(with_load(scenario, load)) for load in loads]
        documents = []
        with tempfile.TemporaryFile("w+") as work, tempfile.TemporaryFile("w+") as said:
            json.dump({"trees": trees, "seeds": list(seeds)}, work)
            work.seek(0)
            for document in self._documents(work, said):
                documents.append(document)
                if progress is not None:
                    progress(float(len(documents)), float(len(trees) * len(seeds)))
        rows = [documents[at : at + len(seeds)] for at in range(0, len(documents), len(seeds))]
        return tuple(
            seen_of(load, [(each["verdict"]["state"], self._figures(each, metrics)) for each in row], metrics)
            for load, row in zip(loads, rows, strict=True)
        )

    def _documents(self, work: IO[str], said: IO[str]) -> Iterator[dict[str, Any]]:
        """Yield the summaries as they come."""
        kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        paths = os.pathsep.join(str(folder) for folder in self.folders)
        # -P: the folder of the script, and the one we are in, hold modules of this version.
        command = [self.python, "-P", play_for_another.__file__]
        try:
            process = subprocess.Popen(
                command, stdin=work, stdout=subprocess.PIPE, stderr=said, text=True,
                env=kept | ({"PYTHONPATH": paths} if paths else {}),
            )  # fmt: skip
        except OSError as problem:
            what = f"{self.python} cannot be started ({problem.strerror})"
            raise InputError(self.option, what, "Name a Python interpreter, as in other/.venv/bin/python.") from None
        with process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    document = json.loads(line)
                    if "refused" in document:
                        what = f"{self.name} refuses what the curve is recorded of: {document['refused']}"
                        raise InputError(self.option, what.removesuffix("."), "Compare with a later one.")
                    yield document
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            said.seek(0)
            last = (said.read().strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(self.option, f"{self.name} cannot play scenarios: {last}", "Compare with a later one.")

    def _figures(self, document: dict[str, Any], metrics: Sequence[str]) -> dict[str, float | None]:
        return {metric: self._figure(document, metric) for metric in metrics}

    def _figure(self, document: dict[str, Any], metric: str) -> float | None:
        """Return a figure of a summary as JSON holds it, by its path."""
        steps = metric.split(".")
        place: Any = document["fleet"]
        if len(steps) > 2:
            named = {each["name"]: each for each in document.get(steps[0], ())}
            place, steps = named.get(steps[1], {}), steps[2:]
        for step in steps:
            if not isinstance(place, dict) or step not in place:
                raise InputError(self.option, f"{self.name} knows no {metric!r}", "Compare with a later one.")
            place = place[step]
        return None if place is None else float(place)


@contextlib.contextmanager
def revision(name: str) -> Iterator[OtherVersion]:
    """Take a revision out of the git repository we are in.

    The interpreter and the installed packages are today's; what the revision holds is imported in their place.

    Raises
    ------
    InputError
        Where there is no repository, or no such revision.
    """
    option = f"--against {name}"
    root = _git(option, Path(), "rev-parse", "--show-toplevel", wrong="this folder is in no git repository")
    unknown = f"git knows no revision {name!r} in {root}"
    commit = _git(option, Path(root), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", wrong=unknown)
    with _place() as tree:
        packing = subprocess.Popen(["git", "-C", root, "archive", "--format=tar", commit], stdout=subprocess.PIPE)
        with packing, tarfile.open(fileobj=packing.stdout, mode="r|") as packed:
            packed.extractall(tree, filter=_undated)
        short = commit[:10]
        called = short if commit.startswith(name) else f"{name} ({short})"
        yield OtherVersion(f"revision {called}", option, sys.executable, (tree, tree / "src"))


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """Give an empty folder that nobody else uses now, and that has the same path next time.

    Compiled kernels are found again by path and date of their sources: in a new folder every revision would be
    compiled anew, though few change the kernel.
    """
    import fcntl

    root = Path(platformdirs.user_cache_dir("inferencesim")) / "revisions"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written
        root = Path(tempfile.mkdtemp(prefix="inferencesim-"))
    for number in itertools.count():
        with (root / f"{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            tree = root / str(number)
            shutil.rmtree(tree, ignore_errors=True)
            tree.mkdir()
            try:
                yield tree
            finally:
                shutil.rmtree(tree, ignore_errors=True)
            return


def _undated(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Take a file out of an archive without its date: the content alone says whether it is another."""
    return tarfile.tar_filter(member.replace(mtime=0, deep=False), folder)


def installed(python: str) -> OtherVersion:
    """Return the version that another interpreter has."""
    return OtherVersion(f"the version of {python}", f"--python {python}", python)


def _git(option: str, folder: Path, *words: str, wrong: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except OSError:
        raise InputError(option, "git cannot be started", "Install it, or compare with --python.") from None
    if done.returncode != 0:
        raise InputError(option, wrong, "Name a branch, a tag or a commit of the repository you are in.")
    return done.stdout.strip()


def _said(scenario: Scenario) -> dict[str, Any]:
    said = scenario.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return said | {"recording": {"evidence": "off", "series_interval": scenario.horizon}}
