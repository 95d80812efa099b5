"""What decides the figures of a scenario beside its text: the key under which they may be kept, and found again.

Kept figures may stand for a simulation only as long as all it would be made of
is the same: this package's sources and data, the packages below it, the files
the scenario names, and whatever other packages add to it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import inferencesim
from inferencesim.errors import InputError
from inferencesim.package_data import data_folder
from inferencesim.results.manifest import package_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Folders of the package that only show results or decide what to simulate next, and data that may also lie beside it.
_LEFT_OUT = frozenset({"cli", "report", "experiments", "measurements", "scenarios", "hardware_profiles"})

#: Kinds of files that are read when something is simulated.
_KINDS = frozenset({".py", ".yaml", ".json", ".csv"})

#: Groups of entry points through which other packages take part.
_PLUGINS = "inferencesim."


@functools.cache
def fingerprint() -> str:
    """Return a digest of what this installation would simulate with: versions, sources and data of the package."""
    package = Path(inferencesim.__file__).parent
    hasher = hashlib.sha256(json.dumps(package_versions(), sort_keys=True).encode())
    for folder in (package, data_folder("hardware_profiles")):
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder)
            if file.suffix in _KINDS and name.parts[0] not in _LEFT_OUT:
                hasher.update(f"{name.as_posix()}\n".encode())
                hasher.update(hashlib.sha256(file.read_bytes()).digest())
    return hasher.hexdigest()


def scenario_key(tree: dict[str, Any]) -> str:
    """Return the key of all that decides the figures of a scenario, its seed included.

    Parameters
    ----------
    tree : dict
        A complete scenario, as a file would hold it; files by their absolute paths, as loading makes them. A file
        counts by its content, wherever it lies.

    Raises
    ------
    InputError
        If a file that it names cannot be read.
    """
    parts = {"installation": fingerprint(), "scenario": _by_content(tree), "plugins": _plugins(_words(tree))}
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _by_content(part: Any) -> Any:
    """Return a part of a scenario with digests of files in place of their paths."""
    if isinstance(part, dict):
        return {key: _by_content(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_by_content(each) for each in part]
    if isinstance(part, str) and os.path.isabs(part) and os.path.isfile(part):
        return f"sha256:{_file_digest(part)}"
    return part


def _file_digest(path: str) -> str:
    try:
        known = os.stat(path)
        return _digest_at(path, known.st_mtime_ns, known.st_size)
    except OSError as problem:
        raise InputError(path, f"cannot be read ({problem.strerror})") from None


@functools.lru_cache(maxsize=1024)
def _digest_at(path: str, changed_ns: int, size: int) -> str:  # noqa: ARG001 - a file that changes is read again
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _words(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from _words(value)
    elif isinstance(part, list):
        for each in part:
            yield from _words(each)


def _plugins(words: Iterable[str]) -> list[list[str]]:
    """Return what other packages may contribute to a scenario with these words: package, version, module's digest."""
    named = set(words)
    return [entry for name, entry in _installed_plugins() if name in named]


@functools.cache
def _installed_plugins() -> list[tuple[str, list[str]]]:
    found = []
    for package in metadata.distributions():
        for point in package.entry_points:
            if point.group.startswith(_PLUGINS):
                about = [point.group, point.name, package.name, package.version, _module_digest(point.module)]
                found.append((point.name, about))
    return sorted(found)


def _module_digest(name: str) -> str:
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # a foreign package may fail in any way; the scenario that uses it will say so
        spec = None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return "unknown"
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()
