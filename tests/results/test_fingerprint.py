"""Kept figures may be found again only while all that decides them is the same."""

from __future__ import annotations

import os
import shutil

import pytest
from oracle.small import chip, pool, scenario, work

from inferencesim.experiments.trials import unrecorded
from inferencesim.results import fingerprint as fingerprints
from inferencesim.results.fingerprint import fingerprint, scenario_key


@pytest.fixture(autouse=True)
def fresh():
    """Forget what was found out about this installation, before and after."""
    for found in (fingerprints.fingerprint, fingerprints._installed_plugins):
        found.cache_clear()
    yield
    for found in (fingerprints.fingerprint, fingerprints._installed_plugins):
        found.cache_clear()


def tree(**said):
    return unrecorded(scenario([pool(**said)], [work("c")]))


def test_the_scenario_decides():
    assert scenario_key(tree()) == scenario_key(tree())
    assert scenario_key(tree()) != scenario_key(tree(replicas=2))
    assert scenario_key(tree()) != scenario_key(tree() | {"seed": 9})


def test_files_count_by_their_content_wherever_they_lie(tmp_path):
    before = tree()
    copied = tmp_path / "copy.yaml"
    shutil.copy(chip(), copied)
    moved = tree()
    moved["pools"][0]["hardware"] = str(copied)
    assert scenario_key(moved) == scenario_key(before)
    copied.write_text(copied.read_text() + "\n# a remark\n")
    os.utime(copied, ns=(1, 1))
    assert scenario_key(moved) != scenario_key(before)


def test_sources_and_data_of_the_package_decide(tmp_path, monkeypatch):
    package = tmp_path / "inferencesim"
    for name in ("kernel", "cli", "hardware_profiles"):
        (package / name).mkdir(parents=True)
        (package / name / "module.py").write_text("x = 1\n")
    (package / "models.yaml").write_text("a: 1\n")
    monkeypatch.setattr(fingerprints.inferencesim, "__file__", str(package / "__init__.py"))

    def now():
        fingerprint.cache_clear()
        return fingerprint()

    first = now()
    (package / "cli" / "module.py").write_text("x = 2\n")
    assert now() == first
    (package / "kernel" / "module.py").write_text("x = 2\n")
    second = now()
    assert second != first
    (package / "models.yaml").write_text("a: 2\n")
    third = now()
    assert third not in {first, second}
    # An installed package carries its profiles inside, a checkout has them beside it: the same digest.
    (package / "hardware_profiles").rename(tmp_path / "hardware_profiles")
    assert now() == third
    (tmp_path / "hardware_profiles" / "module.py").write_text("x = 2\n")
    assert now() != third


def test_versions_decide(monkeypatch):
    first = fingerprint()
    fingerprint.cache_clear()
    monkeypatch.setattr(fingerprints, "package_versions", lambda: {"numpy": "0.1"})
    assert fingerprint() != first


def test_what_other_packages_add_decides_where_it_is_used(tmp_path, monkeypatch):
    (tmp_path / "my_orders.py").write_text("order = 1\n")
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[inferencesim.orders]\nlongest_first = my_orders:order\n")

    def key(order):
        fingerprints._installed_plugins.cache_clear()
        return scenario_key({"batching": {"order": order}})

    without = key("fcfs"), key("longest_first")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert key("fcfs") == without[0]
    first = key("longest_first")
    assert first != without[1]
    (tmp_path / "my_orders.py").write_text("order = 2\n")
    assert key("longest_first") != first
