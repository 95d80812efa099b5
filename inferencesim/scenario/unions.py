"""Parts of which a scenario has several kinds, told apart by one of their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BeforeValidator, Discriminator

from inferencesim.errors import RefusedError, did_you_mean
from inferencesim.scenario.base import Part

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def refuse(what: str, remedy: str | None = None) -> NoReturn:
    """Raise what pydantic reports, at the place of the part that is being validated."""
    raise RefusedError(what, remedy)


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
            refuse(f"unknown {key} {name!r}", did_you_mean(str(name), names))
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


def told_by_key(
    kinds: Mapping[str, type[Part]], one: str, many: str, others: Collection[str]
) -> tuple[BeforeValidator, Discriminator]:
    """Return what checks, and what tells apart, parts whose kind is the one key among `kinds` that they have.

    Their tags are the keys in brackets.

    Parameters
    ----------
    kinds : mapping of str to type
        The first is where errors of a part that is none of them are placed.
    one, many : str
        What such parts are called: ``a step``, ``steps``.
    others : collection of str
        Keys that several kinds have, which are no misspelt kinds.
    """
    keys = ", ".join(kinds)

    def check(value: object) -> object:
        if isinstance(value, Part):
            return value
        if not isinstance(value, dict):
            refuse(f"{one} is a mapping with one of the keys {keys}")
        found = [key for key in value if key in kinds]
        if not found:
            unknown = [key for key in value if key not in others]
            remedy = did_you_mean(str(unknown[0]), kinds) if unknown else None
            refuse(f"{one} needs one of the keys {keys}", remedy)
        if len(found) > 1:
            refuse(f"{' and '.join(found)} are two {many}: write each as an entry of its own")
        return value

    def choose(value: object) -> str:
        for name, kind in kinds.items():
            if isinstance(value, kind) or (isinstance(value, dict) and name in value):
                return f"[{name}]"
        return f"[{next(iter(kinds))}]"

    return BeforeValidator(check), Discriminator(choose)
