"""Old against new: another version plays the same random numbers in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from oracle import guarded

from inferencesim import Curve
from inferencesim.errors import InputError

ROOT = Path(__file__).parents[2]

#: Stands for a version: of each seed it says the same, as today's summaries are made.
FAKE = '''
class InputError(Exception):
    """Something is wrong."""


class Run:
    def __init__(self, seed):
        self.summary = self
        self.seed = seed

    def model_dump(self, mode):
        return {"verdict": {"state": "stable"}, "fleet": FLEET}


def simulate(tree, seed=None):
    assert tree["recording"]["evidence"] == "off"
    assert "drain" not in tree["workload"][0]
    if REFUSED:
        raise InputError("unknown key 'promise'.")
    return Run(seed)
'''

FIGURES = {"cost_per_completed_task_usd": 1.0, "slo_attainment": 1.0, "energy_per_completed_task_j": 1e-3}


@pytest.fixture
def curve(tmp_path):
    return Curve.record(guarded.write(tmp_path), loads=[1.0], replications=2)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository, which we are in; call it with what to commit as the package."""
    folder = tmp_path / "repository"
    (folder / "inferencesim").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    git("init", "--quiet")

    def commit(fleet, *, refuses=False):
        text = FAKE.replace("FLEET", repr(fleet)).replace("REFUSED", repr(refuses))
        (folder / "inferencesim" / "__init__.py").write_text(text)
        git("add", "--all")
        git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "a version")

    return commit


def git(*words):
    subprocess.run(["git", *words], check=True, capture_output=True)


def refused(curve, **said):
    with pytest.raises(InputError) as caught:
        curve.check(**said)
    return str(caught.value)


def test_a_revision_is_what_new_values_are_compared_with(curve, repository):
    repository(FIGURES)
    repository(FIGURES | {"slo_attainment": 0.5})
    before, now = curve.check(against="HEAD~1"), curve.check(against="HEAD")
    assert before.old.startswith("revision HEAD~1 (")
    assert set(before.differences.set_index("metric").old.items()) == set(FIGURES.items())
    assert now.differences.set_index("metric").old["slo_attainment"] == 0.5


def test_its_folder_is_given_back(curve, repository, tmp_path):
    repository(FIGURES)
    curve.check(against="HEAD")
    assert [path.name for path in (tmp_path / "cache" / "inferencesim" / "revisions").iterdir()] == ["0.lock"]


def test_a_revision_that_is_none(curve, repository):
    repository(FIGURES)
    assert "git knows no revision 'HEAD~7'" in refused(curve, against="HEAD~7")


def test_no_repository(curve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "this folder is in no git repository" in refused(curve, against="HEAD")


def test_a_version_that_refuses(curve, repository):
    repository(FIGURES, refuses=True)
    assert "refuses what the curve is recorded of: unknown key 'promise'." in refused(curve, against="HEAD")


def test_a_version_that_knows_less(curve, repository):
    repository({"slo_attainment": 1.0})
    assert "knows no 'cost_per_completed_task_usd'" in refused(curve, against="HEAD")


def test_a_version_that_breaks(curve, repository):
    repository(FIGURES | {"slo_attainment": object})
    assert "cannot play scenarios: " in refused(curve, against="HEAD")


def test_an_interpreter_that_is_none(curve, tmp_path):
    assert "cannot be started" in refused(curve, python=str(tmp_path / "python"))


def test_an_interpreter_without_the_package(curve, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    assert f"--python {python}: the version of {python} cannot play" in refused(curve, python=python)


@pytest.mark.long
def test_this_version_equals_itself(curve, repository, tmp_path, monkeypatch):
    for name in ("inferencesim", "hardware_profiles"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "repository" / name, dirs_exist_ok=True, ignore=ignored)
    git("add", "--all")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "today's")
    # Compiling the kernel for it would take minutes.
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert set(curve.check(against="HEAD").differences.conclusion) == {"equal"}
