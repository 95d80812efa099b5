"""The wheel holds all that a run needs: built once, unpacked, and asked to work from outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_the_built_wheel_validates_a_shipped_scenario(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("inferencesim-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
        archive.extractall(site)
    # Profiles, and the calibrations below them.
    shipped = {f"inferencesim/{path.relative_to(ROOT)}" for path in (ROOT / "hardware_profiles").rglob("*.yaml")}
    assert shipped <= packed
    finished = subprocess.run(
        [sys.executable, "-m", "inferencesim", "validate", "mixed_fleet"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "COLUMNS": "160"},  # too narrow a table folds its names
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "nvidia-gb200-nvl72" in finished.stdout
    where = [sys.executable, "-c", "import inferencesim; print(inferencesim.__file__)"]
    imported = subprocess.run(where, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True)
    assert imported.stdout.decode().strip().startswith(str(site))
