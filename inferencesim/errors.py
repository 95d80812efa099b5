"""The one kind of error a user sees: where it is, what is wrong, how to mend it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class InputError(Exception):
    """Something the user gave cannot be used.

    Parameters
    ----------
    where : str
        The place, as the user would name it: a path inside the YAML
        (``pools[2].hardware``), a file with its line, or an option.
    what : str
        What is wrong there.
    remedy : str, optional
        What to do about it.
    """

    def __init__(self, where: str, what: str, remedy: str | None = None) -> None:
        self.where = where
        self.what = what
        self.remedy = remedy
        super().__init__(where, what, remedy)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}." + (f" {self.remedy}" if self.remedy else "")


class RefusedError(ValueError):
    """What a validator of a document raises, with its remedy; the reader of the document adds the place."""

    def __init__(self, what: str, remedy: str | None = None) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}. {remedy}" if remedy else what)


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """Say which known name is nearest to `name`, or list what is known.

    Parameters
    ----------
    name : str
        What the user wrote.
    known : iterable of str
        The names that would have been valid.
    limit : int
        How many names to list when none is near.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    if not near:
        # A short form such as "h100" is far from "nvidia-h100-sxm" by edit distance, yet contained in it.
        near = [choice for choice in choices if name.lower() in choice.lower()][:1] if name else []
    if near:
        return f"Did you mean {near[0]!r}?"
    if not choices:
        return "None is known."
    more = len(choices) - limit
    return f"Known: {', '.join(choices[:limit])}{f' and {more} more' if more > 0 else ''}."
