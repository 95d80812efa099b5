"""Numba in one place: flags, the cache on disk, and first-class functions.

``fastmath`` stays off, so that the same seed gives the same bytes. The cache
lives in a folder named after a digest of the sources that are compiled
together: Numba itself looks only at the file a function stands in, and would
serve a stale kernel after an edit of a function it calls.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import platformdirs
from numba.core import cgutils
from numba.core.caching import FunctionCache, NullCache
from numba.core.errors import NumbaExperimentalFeatureWarning
from numba.experimental.function_type import FunctionModel, _get_wrapper_address
from numba.extending import NativeValue, register_model, typeof_impl, unbox

from inferencesim.sources import sources_of

F = TypeVar("F", bound=Callable[..., Any])

#: Compiled functions are written in these folders and files of the package.
_COMPILED_SOURCES = ("jit.py", "references.py", "deployment", "kernel", "routing", "batching", "ledger")
_KEPT_CACHES = 4
_PACKAGE = Path(__file__).parent


def _source_digest() -> str:
    hasher = hashlib.sha256(numba.__version__.encode())
    for name in _COMPILED_SOURCES:
        place = _PACKAGE / name
        files = [place] if place.is_file() else sorted(place.rglob("*.py"))
        for file in files:
            hasher.update(file.relative_to(_PACKAGE).as_posix().encode())
            hasher.update(file.read_bytes())
    return hasher.hexdigest()[:16]


def _set_cache_folder() -> Path:
    """Point Numba's cache at this version's folder, and drop the oldest of earlier versions."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    root = Path(platformdirs.user_cache_dir("inferencesim")) / "kernels"
    folder = root / _source_digest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        by_age = sorted(root.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
        for stale in by_age[_KEPT_CACHES:]:
            shutil.rmtree(stale, ignore_errors=True)
    except OSError:
        # A home that cannot be written (a read-only container): Numba falls back to its own choice of folder.
        return folder
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]  # set by numba at run time
    return folder


CACHE_FOLDER = _set_cache_folder()

#: False under ``NUMBA_DISABLE_JIT=1``, when every function below runs as plain Python.
JIT_ENABLED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]  # likewise


# Compiled code works on arrays that outlive the call and makes none of its own, so it needs no reference counts;
# counting (an atomic operation at every access to a table) took half of the kernel's time.
_OPTIONS: dict[str, Any] = {"fastmath": False, "_nrt": False}


@contextlib.contextmanager
def _cached_in(folder: str) -> Iterator[None]:
    """Let functions that are compiled meanwhile be cached in a folder."""
    before = numba.config.CACHE_DIR  # type: ignore[attr-defined]  # set by numba at run time
    numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]  # likewise
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before  # type: ignore[attr-defined]  # likewise


class _CompiledBefore:
    """Numba's cache of one function on disk, with no more of its preparations than a look into it needs.

    Numba opens a cache for each function that it might compile, and tries by a
    file whether the folder can be written; of hundreds, a run looks for a dozen.
    And it gets ready to compile before it looks, which takes the better part of
    a second: it imports all that it can translate, and SciPy's linear algebra
    beside it. What is in the cache does without; for the rest the compiler
    makes the same preparations itself.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._folder = str(numba.config.CACHE_DIR)  # type: ignore[attr-defined]  # likewise

    @functools.cached_property
    def _opened(self) -> Any:
        with _cached_in(self._folder):
            return FunctionCache(self._function)  # type: ignore[no-untyped-call]  # numba ships no annotations

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return what was compiled for a signature, None if nothing was."""
        with self._opened._guard_against_spurious_io_errors():
            return self._opened._load_overload(signature, target_context)


def _jitted(function: F, **options: Any) -> F:
    """Return a function that is compiled on first call, and cached on disk."""
    dispatcher: Any = numba.njit(**_OPTIONS, **options)(function)
    if JIT_ENABLED:
        dispatcher._cache = _CompiledBefore(function)
    return cast("F", dispatcher)


def compiled(function: F) -> F:
    """Compile on first call, and cache on disk."""
    return _jitted(function)


def inlined(function: F) -> F:
    """Compile into every caller: for small helpers, whose call would cost more than they do."""
    return _jitted(function, forceinline=True)


# The way in from Python, which unpacks every table, takes half of the time that compiling takes. Functions of the
# kernel that only compiled code calls go without; called from Python they would crash, so the two names are apart.
_NO_WAY_IN: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def inner(function: F) -> F:
    """Compile for callers that are compiled themselves."""
    return _jitted(function, **_NO_WAY_IN)


def inner_inlined(function: F) -> F:
    """Compile into every caller, all of which are compiled themselves."""
    return _jitted(function, forceinline=True, **_NO_WAY_IN)


@contextlib.contextmanager
def _functions_as_values() -> Iterator[None]:
    """Silence Numba's warning that passing functions around is experimental: this is known, and tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaExperimentalFeatureWarning)
        yield


def compile_for(signature: Any, function: F) -> F:
    """Compile now, for one signature, and cache on disk; the result can be passed to other compiled functions.

    A function of another package is cached under a digest of all it is compiled
    from. The functions it calls are compiled into it; had they a cache of their
    own (``numba.njit(cache=True)``), it would look at their own files only.
    """
    plain_function = plain(function)
    if Path(inspect.getfile(plain_function)).is_relative_to(_PACKAGE):
        with _functions_as_values():
            return _compiled_now(signature, plain_function)
    digest, helpers = sources_of(plain_function)
    for helper in helpers:
        helper._cache = NullCache()
    with _cached_in(str(CACHE_FOLDER / f"of_others-{digest}")):
        return _compiled_now(signature, plain_function)


def _compiled_now(signature: Any, function: F) -> F:
    dispatcher: Any = _jitted(function)
    if JIT_ENABLED:
        dispatcher.compile(signature)
        dispatcher.disable_compile()
    return cast("F", dispatcher)


class _FunctionAt(numba.types.FunctionType):
    """The Numba type of a function that is passed as its address."""


register_model(_FunctionAt)(FunctionModel)


@dataclass(frozen=True, slots=True)
class FunctionAddress:
    """A compiled function as an argument of another: its address, looked up once.

    Numba takes a compiled function as such an argument too, but unpacks the
    signature and searches for the address anew, for each of them at every call:
    of an empty call of the kernel, that was nine tenths of the time.
    """

    function: Any  # keeps the code alive
    signature: Any
    address: int


@typeof_impl.register(FunctionAddress)
def _typeof_address(value: FunctionAddress, _: object) -> _FunctionAt:
    return _FunctionAt(value.signature)


@unbox(_FunctionAt)  # type: ignore[no-untyped-call, untyped-decorator]  # numba ships no annotations
def _unbox_address(kind: _FunctionAt, value: Any, c: Any) -> NativeValue:
    number = c.pyapi.object_getattr_string(value, "address")
    function: Any = cgutils.create_struct_proxy(kind)(c.context, c.builder)  # type: ignore[no-untyped-call]  # likewise
    function.c_addr = c.pyapi.long_as_voidptr(number)
    c.pyapi.decref(number)
    return NativeValue(function._getvalue())  # type: ignore[no-untyped-call]  # likewise


def as_function(signature: Any) -> Any:
    """Return the Numba type of functions of one signature, as arguments of another."""
    return _FunctionAt(signature)


def as_argument(function: F, signature: Any) -> Any:
    """Return a compiled function in the form in which compiled functions take it as an argument."""
    if not JIT_ENABLED:
        return function
    address = _get_wrapper_address(function, signature)  # type: ignore[no-untyped-call]  # likewise
    return FunctionAddress(function, signature, address)


def entry_point(function: F) -> F:
    """Return the one compiled version of a function, which skips the search by argument types at each call."""
    if not JIT_ENABLED:
        return function
    (version,) = cast("Any", function).overloads.values()
    return cast("F", version.entry_point)


def plain(function: F) -> F:
    """Return the Python function a compiled one was made of, to be called where its result holds arrays."""
    return cast("F", getattr(function, "py_func", function))


def array_type(array: Any) -> Any:
    """Return the Numba type of an array (or of a tuple of arrays) for a signature."""
    with _functions_as_values():
        return numba.typeof(array)  # type: ignore[no-untyped-call]  # numba ships no annotations
