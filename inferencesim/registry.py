"""Registries of extension points: a name, the thing, and an entry-point group for other packages."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Generic, TypeVar

from inferencesim.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind, found by id.

    Entries come from the package itself, through :meth:`register`, and from
    other installed packages, through the entry-point group `group`; those are
    imported only when their id is asked for.

    Parameters
    ----------
    kind : str
        What an entry is, in the words of an error message ("placement policy").
    group : str
        Entry-point group searched for entries of other packages.
    check : callable
        Tells whether what an entry point gives can be such a thing.
    """

    def __init__(self, kind: str, group: str, check: Callable[[object], bool] = callable) -> None:
        self.kind = kind
        self.group = group
        self._check = check
        self._entries: dict[str, T] = {}
        self._found: dict[str, metadata.EntryPoint] | None = None
        self._packages: dict[str, tuple[str, str]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files what it decorates under `name`.

        Raises
        ------
        ValueError
            If the name is taken: two things of one name would make a result depend on import order.
        """

        def file(entry: T) -> T:
            if name in self._entries:
                msg = f"{self.kind} {name!r} is registered already"
                raise ValueError(msg)
            self._entries[name] = entry
            return entry

        return file

    def get(self, name: str, where: str) -> T:
        """Return the entry called `name`.

        Raises
        ------
        InputError
            At `where`, if there is none, with the nearest name that exists.
        """
        if name not in self._entries:
            point = self._points().get(name)
            if point is None:
                raise InputError(where, f"unknown {self.kind} {name!r}", did_you_mean(name, self.names()))
            self._entries[name] = self._load(point)
            if point.dist is not None:
                self._packages[name] = (point.dist.name, point.dist.version)
        return self._entries[name]

    def package_of(self, name: str) -> tuple[str, str] | None:
        """Return name and version of the other package that an entry in use came from; None if it is built in."""
        return self._packages.get(name)

    def names(self) -> list[str]:
        """Return all ids, sorted, those of other packages included; nothing is imported for it."""
        return sorted(self._entries.keys() | self._points())

    def _points(self) -> dict[str, metadata.EntryPoint]:
        """Return the entry points of other packages by id; an id of the package's own is not theirs to take."""
        if self._found is None:
            self._found = {point.name: point for point in metadata.entry_points(group=self.group)}
        return {name: point for name, point in self._found.items() if name not in self._entries}

    def _load(self, point: metadata.EntryPoint) -> T:
        """Import what an entry point names; another package's fault is told as such."""
        package = point.dist.name if point.dist else "an unnamed package"
        where = f"entry point {point.name} of {package}"
        remedy = f"Mend or uninstall {package}."
        try:
            entry = point.load()
        except Exception as problem:  # a foreign package may fail in any way on import
            raise InputError(where, f"cannot be loaded ({type(problem).__name__}: {problem})", remedy) from problem
        if not self._check(entry):
            raise InputError(where, f"is no {self.kind}", remedy)
        return entry  # type: ignore[no-any-return]  # `check` is what can be known of a foreign object
