"""What a routing policy is, and where all of them are filed.

A policy is one function::

    choose(request, candidates, scores, parameters, memory) -> int

``request`` and ``candidates`` are the tuples of :mod:`inferencesim.kernel.views`;
``scores[i]`` is to be filled for the candidates it looked at (higher is better,
NaN means not looked at) and is recorded with the decision; ``parameters`` holds
the policy's parameters in the order of its declaration; ``memory`` is an array of
integers the policy may keep between calls. It returns the index of an eligible
candidate.

The same function serves both levels. Written in the subset of Python that Numba
compiles, it is compiled and runs inside the kernel, at hundreds of thousands of
decisions per second; any other Python works too (``compiled=False``), called
once per arrival.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim import jit
from inferencesim.deployment.latency import latency_models
from inferencesim.errors import InputError, did_you_mean
from inferencesim.kernel.tables import LOAD
from inferencesim.kernel.views import TRAITS, Candidates, Request
from inferencesim.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

Choose = Callable[..., int]

#: Integers a policy may keep between calls, per pool it balances.
MEMORY_SIZE = 8


@dataclass(frozen=True)
class Policy:
    """A routing policy.

    Attributes
    ----------
    choose : callable
    rule : str
        What it does, in one line.
    parameters : mapping
        Name → default, in the order `choose` reads them.
    compiled : bool
        Whether `choose` is to be compiled.
    oracle : bool
        Whether it looks at what a real router cannot know; results say so.
    """

    choose: Choose
    rule: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    compiled: bool = True
    oracle: bool = False


POLICIES: Registry[Policy] = Registry(
    "routing policy", "inferencesim.policies", lambda entry: isinstance(entry, Policy)
)


def policy(name: str, rule: str, **parameters: float) -> Callable[[Choose], Choose]:
    """Return a decorator that files a compiled policy under `name`."""

    def file(choose: Choose) -> Choose:
        POLICIES.register(name)(Policy(choose, rule, parameters))
        return choose

    return file


@dataclass(frozen=True)
class BoundPolicy:
    """A policy with its parameters, ready to be called.

    Attributes
    ----------
    name : str
    choose : callable
        Compiled for :func:`signature` if `interpreted` is false.
    argument : object
        `choose` as the kernel takes it.
    parameters : ndarray of float64
    interpreted : bool
    """

    name: str
    choose: Choose
    argument: Any
    parameters: NDArray[np.float64]
    interpreted: bool


def find(name: str, chosen: Mapping[str, float], where: str) -> Policy:
    """Return the policy called `name`, having checked that it takes the `chosen` parameters.

    Raises
    ------
    InputError
        For an unknown policy or parameter, at `where`.
    """
    found = POLICIES.get(name, f"{where}.policy")
    for parameter in chosen:
        if parameter not in found.parameters:
            raise InputError(
                f"{where}.parameters.{parameter}",
                f"{name} has no such parameter",
                did_you_mean(parameter, found.parameters) if found.parameters else "It takes none.",
            )
    return found


def bind(name: str, chosen: Mapping[str, float], where: str) -> BoundPolicy:
    """Find a policy and fix its parameters.

    Raises
    ------
    InputError
        For an unknown policy or parameter, at `where`.
    """
    found = find(name, chosen, where)
    values = np.array([chosen.get(key, default) for key, default in found.parameters.items()], dtype=np.float64)
    if not found.compiled:
        return BoundPolicy(name, found.choose, None, values, True)
    try:
        choose = _compiled(found.choose)
    except Exception as problem:  # Numba raises many kinds, and a policy may be somebody else's
        raise failed(name, problem) from problem
    return BoundPolicy(name, choose, jit.as_argument(choose, signature()), values, False)


def failed(name: str, problem: Exception) -> InputError:
    """Return the error for a policy that cannot be compiled, or fails at work."""
    first_line = next((line for line in str(problem).splitlines() if line.strip()), "")
    remedy = "Mend the policy; one that Numba cannot compile needs Policy(..., compiled=False)."
    return InputError(f"routing: {name}", f"the policy fails ({type(problem).__name__}: {first_line})", remedy)


@functools.cache
def _compiled(choose: Choose) -> Choose:
    return jit.compile_for(signature(), choose)


@functools.cache
def signature() -> Any:
    """Return the Numba signature all compiled policies share."""
    from numba import types

    request, candidates = jit.array_type(_sample_request()), jit.array_type(_sample_candidates())
    floats = types.Array(types.float64, 1, "C")
    integers = types.Array(types.int64, 1, "C")
    return types.int64(request, candidates, floats, floats, integers)


def _sample_request() -> Request:
    return Request(0, 1, 1.0, -1, 0.0, 1.0, 1.0, 1.0, 0)


def _sample_candidates() -> Candidates:
    return Candidates(np.ones(1, np.uint8), np.zeros(1, LOAD), np.zeros(1, TRAITS), latency_models([]))
