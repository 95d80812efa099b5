"""Where the data files shipped with the package are."""

from __future__ import annotations

from pathlib import Path

import inferencesim


def data_folder(name: str) -> Path:
    """Return the folder of shipped data called `name` (``hardware_profiles``, ``scenarios``).

    An installed package carries the folder inside itself; a source checkout has
    it beside the package, at the top of the repository.

    Raises
    ------
    FileNotFoundError
        If neither exists: the installation is broken, which no input can mend.
    """
    package = Path(inferencesim.__file__).parent
    for candidate in (package / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    msg = f"the data folder {name!r} is neither inside nor beside {package}; reinstall inferencesim"
    raise FileNotFoundError(msg)


def shipped_names(folder: Path) -> list[str]:
    """Return the ids of the YAML documents in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))
