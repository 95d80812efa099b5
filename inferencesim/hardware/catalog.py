"""The shipped hardware profiles, and a user's own, by name or path."""

from __future__ import annotations

import functools
from pathlib import Path

from inferencesim.documents import document_digest, read_document
from inferencesim.errors import InputError, did_you_mean
from inferencesim.hardware.profile import HardwareProfile
from inferencesim.package_data import data_folder, shipped_names

_YAML = (".yaml", ".yml")


def profile_names() -> list[str]:
    """Return the ids of the shipped profiles, sorted."""
    return shipped_names(data_folder("hardware_profiles"))


def load_profile(name_or_path: str | Path, where: str) -> HardwareProfile:
    """Return a hardware profile.

    Parameters
    ----------
    name_or_path : str or Path
        The full id of a shipped profile (``nvidia-h100-sxm``), or the path of a
        YAML file of the same form.
    where : str
        The place that asked, named in errors (``fleet.pools[2].hardware``).

    Raises
    ------
    InputError
        If there is no such profile or file, or what is in it is wrong; then file and key are named.
    """
    text = str(name_or_path)
    if text.endswith(_YAML):
        return read_document(Path(text), HardwareProfile, where)
    names = profile_names()
    if text not in names:
        remedy = f"{did_you_mean(text, names)} A profile of your own is given as a path that ends in .yaml."
        raise InputError(where, f"unknown hardware profile {text!r}", remedy)
    return _shipped(text)


def profile_digest(profile: HardwareProfile) -> str:
    """Return the SHA-256 of the profile's canonical JSON: equal digests mean the same numbers and sources."""
    return document_digest(profile)


@functools.cache
def _shipped(name: str) -> HardwareProfile:
    """Read a shipped profile, once: a sweep asks for it at every point."""
    path = data_folder("hardware_profiles") / f"{name}.yaml"
    return read_document(path, HardwareProfile, str(path))
