"""What a function of another package is compiled from.

Compiled code outlives the process on disk. It may be served again only while
all it was made of is the same: the function, the functions it calls, and the
values of the names they use, wherever those were written. A number is compiled
in as a number, so the file it was imported from is not to be found in the
function; its value is.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

#: Packages whose functions Numba knows itself, and this one, whose sources name the cache's folder.
_KNOWN = frozenset({"numba", "numpy", "inferencesim"}) | sys.stdlib_module_names


def sources_of(function: Callable[..., Any]) -> tuple[str, list[Any]]:
    """Return a digest of what a function is compiled from, and the compiled functions among it.

    Parameters
    ----------
    function : callable
        A plain Python function of another package.

    Returns
    -------
    digest : str
    helpers : list
        What the function calls, directly or not, as Numba has wrapped it.
    """
    hasher = hashlib.sha256()
    helpers: list[Any] = []
    seen = {function}
    pending = [function]
    while pending:
        each = pending.pop()
        parts = [_file_of(each), repr((each.__defaults__, each.__kwdefaults__)).encode()]
        for name, value in _referred_to(each):
            plain = getattr(value, "py_func", value)
            if inspect.ismodule(plain) or inspect.isclass(plain):
                parts.append(_file_of(plain))
            elif not inspect.isroutine(plain):
                parts.append(f"{name} = ".encode() + _frozen(value))
            elif inspect.isfunction(plain) and plain not in seen and not _is_known(plain):
                seen.add(plain)
                pending.append(plain)
                if plain is not value:
                    helpers.append(value)
        for part in parts:
            hasher.update(hashlib.sha256(part).digest())
    return hasher.hexdigest()[:16], helpers


def _referred_to(function: Any) -> Iterator[tuple[str, Any]]:
    """Yield the things a function's names stand for, sorted by name; of modules, what it takes from them, too."""
    names = sorted(_names(function.__code__))
    closed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    spaces = [{name: cell.cell_contents for name, cell in closed}, function.__globals__]
    seen = set()
    while spaces:
        space = spaces.pop(0)
        for name in names:
            if name not in space:
                continue
            value = space[name]
            yield name, value
            if inspect.ismodule(value) and not _is_known(value) and value.__name__ not in seen:
                seen.add(value.__name__)
                spaces.append(vars(value))


def _names(code: CodeType) -> set[str]:
    """Return the names that code uses, and those that functions written inside it use."""
    names = {*code.co_names, *code.co_freevars}
    for constant in code.co_consts:
        if inspect.iscode(constant):
            names |= _names(constant)
    return names


def _is_known(thing: Any) -> bool:
    module = thing.__name__ if inspect.ismodule(thing) else thing.__module__ or ""
    return module.partition(".")[0] in _KNOWN


def _file_of(thing: Any) -> bytes:
    """Return path and content of the file a function, class or module is written in; nothing if Numba knows it."""
    if _is_known(thing):
        return b""
    module = thing if inspect.ismodule(thing) else sys.modules.get(thing.__module__)
    file = getattr(module, "__file__", None)
    return f"{file}\n".encode() + Path(file).read_bytes() if file else b""


def _frozen(value: Any) -> bytes:
    """Return what distinguishes a value that is compiled in from others; what has no value but a place has none."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} ".encode() + value.tobytes()
    text = repr(value)
    return b"" if " at 0x" in text else text.encode()
