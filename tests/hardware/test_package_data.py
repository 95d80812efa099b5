"""The shipped data is found, and a broken installation says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import inferencesim
from inferencesim.package_data import data_folder, shipped_names

if TYPE_CHECKING:
    from pathlib import Path


def test_an_installed_package_carries_its_data_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "inferencesim"
    (package / "hardware_profiles").mkdir(parents=True)
    (tmp_path / "hardware_profiles").mkdir()
    monkeypatch.setattr(inferencesim, "__file__", str(package / "__init__.py"))
    assert data_folder("hardware_profiles") == package / "hardware_profiles"


def test_a_source_checkout_has_it_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hardware_profiles").mkdir()
    monkeypatch.setattr(inferencesim, "__file__", str(tmp_path / "inferencesim" / "__init__.py"))
    assert data_folder("hardware_profiles") == tmp_path / "hardware_profiles"


def test_without_the_data_the_installation_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inferencesim, "__file__", str(tmp_path / "inferencesim" / "__init__.py"))
    with pytest.raises(FileNotFoundError, match="'hardware_profiles' is neither inside nor beside"):
        data_folder("hardware_profiles")


def test_names_are_sorted_and_only_of_yaml_files(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "README.md"):
        (tmp_path / name).touch()
    assert shipped_names(tmp_path) == ["a", "b"]
