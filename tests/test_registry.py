"""Registries: one name, one thing, also from other packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inferencesim.errors import InputError
from inferencesim.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "inferencesim.test_things"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package with entry points: a text of lines."""

    def install(entries: str) -> None:
        (tmp_path / "things_of_others.py").write_text("RED = 'red of others'\nBLUE = 'blue of others'\nFIVE = 5\n")
        info = tmp_path / "things_of_others-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: things-of-others\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def things() -> Registry[str]:
    registry: Registry[str] = Registry("thing", GROUP, lambda entry: isinstance(entry, str))
    registry.register("red")("our red")
    return registry


def test_what_was_registered_is_found():
    assert things().get("red", "here") == "our red"
    assert things().names() == ["red"]


def test_registering_returns_the_entry_so_that_it_can_decorate():
    assert things().register("green")("g") == "g"


def test_a_name_is_taken_once():
    registry = things()
    with pytest.raises(ValueError, match="thing 'red' is registered already"):
        registry.register("red")("another")
    assert registry.get("red", "here") == "our red"


def test_an_unknown_name_is_an_error_at_its_place_with_the_nearest():
    with pytest.raises(InputError) as caught:
        things().get("rde", "pools[0].colour")
    assert str(caught.value) == "pools[0].colour: unknown thing 'rde'. Did you mean 'red'?"


def test_things_of_other_packages_are_found_and_listed(installed):
    installed("blue = things_of_others:BLUE")
    registry = things()
    assert registry.get("blue", "here") == "blue of others"
    assert registry.names() == ["blue", "red"]
    assert registry.package_of("blue") == ("things-of-others", "1.0")
    assert registry.package_of("red") is None


def test_no_other_package_replaces_a_thing_of_ours(installed):
    installed("red = things_of_others:RED\nblue = things_of_others:BLUE")
    registry = things()
    assert registry.names() == ["blue", "red"]
    assert registry.get("red", "here") == "our red"


def test_other_packages_are_not_imported_for_what_is_known(installed):
    installed("blue = no_such_module:BLUE")
    assert things().get("red", "here") == "our red"


def test_a_broken_package_is_named(installed):
    installed("blue = no_such_module:BLUE")
    with pytest.raises(InputError) as caught:
        things().get("blue", "here")
    assert "blue" in str(caught.value)
    assert "things-of-others" in str(caught.value)


def test_what_is_no_such_thing_is_refused(installed):
    installed("blue = things_of_others:FIVE")
    with pytest.raises(InputError, match="is no thing"):
        things().get("blue", "here")


def test_a_broken_neighbour_hides_nobody(installed):
    """Names are listed without importing anything, and only the thing that is asked for is loaded."""
    installed("blue = things_of_others:MISSING\ngreen = things_of_others:BLUE")
    known = things()
    assert {"blue", "green"} <= set(known.names())
    assert known.get("green", "here") is not None
    with pytest.raises(InputError, match="things-of-others"):
        known.get("blue", "here")
