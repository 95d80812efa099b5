"""Parts of which a scenario has several kinds, told apart by one of their keys."""

from __future__ import annotations

from typing import Any, NoReturn

from pydantic import BeforeValidator, Discriminator

from inferencesim.errors import did_you_mean
from inferencesim.scenario.base import Part


def refuse(text: str) -> NoReturn:
    """Raise what pydantic reports, at the place of the part that is being validated."""
    raise ValueError(text)


def named(key: str, known: tuple[str, ...], bare: Any = None) -> BeforeValidator:
    """Refuse an unknown name with the nearest one.

    With `bare`, a type that covers both forms, a value that is no mapping is read as ``fixed``.
    """
    names = sorted(known)

    def check(value: object) -> object:
        if isinstance(value, Part):
            return value
        if not isinstance(value, dict):
            if bare is not None:
                return {key: "fixed", "value": value}
            refuse(f"expected a mapping with the key {key!r}; known: {', '.join(names)}")
        name = value.get(key)
        if name is None:
            refuse(f"the key {key!r} is missing; known: {', '.join(names)}")
        if name not in names and "parameters" not in value:
            refuse(f"unknown {key} {name!r} ({did_you_mean(str(name), names)})")
        return value

    if bare is None:
        return BeforeValidator(check)
    return BeforeValidator(check, json_schema_input_type=bare)


def tag(key: str, known: tuple[str, ...]) -> Discriminator:
    """Return what tells the known names from those that another package registers."""
    names = frozenset(known)

    # Brackets tell the error message that this part of the location is no key of the file.
    def choose(value: object) -> str:
        name = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return f"[{name}]" if name in names else "[registered]"

    return Discriminator(choose)
