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
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim import jit
from inferencesim import policy as policies
from inferencesim.deployment.latency import latency_models
from inferencesim.kernel.tables import LOAD
from inferencesim.kernel.views import CACHED, TRAITS, Candidates, Request
from inferencesim.policy import BoundPolicy, Policy
from inferencesim.registry import Registry
from inferencesim.routing.prediction import predict_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Integers a policy may keep between calls, per pool it balances.
MEMORY_SIZE = 8

POLICIES: Registry[Policy] = Registry(
    "routing policy", "inferencesim.policies", lambda entry: isinstance(entry, Policy)
)


def policy(
    name: str,
    rule: str,
    reads_caches: bool | str = False,
    **parameters: float,
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that files a compiled policy under `name`; see :class:`inferencesim.policy.Policy`."""

    def file(choose: Callable[..., int]) -> Callable[..., int]:
        POLICIES.register(name)(Policy(choose, rule, parameters, reads_caches=reads_caches))
        return choose

    return file


def find(name: str, chosen: Mapping[str, float], where: str) -> Policy:
    """Return the policy called `name`, having checked that it takes the `chosen` parameters.

    Raises
    ------
    InputError
        For an unknown policy or parameter, at `where`.
    """
    return policies.find(POLICIES, name, chosen, where)


def bind(name: str, chosen: Mapping[str, float], where: str) -> BoundPolicy:
    """Find a policy and fix its parameters.

    Raises
    ------
    InputError
        For an unknown policy or parameter, at `where`.
    """
    return policies.bind(find(name, chosen, where), name, chosen, "routing", signature())


def bind_predictions() -> BoundPolicy:
    """Return :func:`.prediction.predict_all`, which the kernel calls like a policy."""
    return policies.bind(Policy(predict_all, "predicts"), "predictions", {}, "routing", signature())


@functools.cache
def signature() -> Any:
    """Return the Numba signature all compiled policies share."""
    from numba import types

    request, candidates = jit.array_type(_sample_request()), jit.array_type(_sample_candidates())
    floats = types.Array(types.float64, 1, "C")
    integers = types.Array(types.int64, 1, "C")
    return types.int64(request, candidates, floats, floats, integers)


def _sample_request() -> Request:
    return Request(0, 1, 1.0, -1, 0.0, 1.0, 1.0, 1.0, 0, 0)


def _sample_candidates() -> Candidates:
    return Candidates(
        np.ones(1, np.uint8),
        np.zeros(1, LOAD),
        np.zeros(1, TRAITS),
        np.zeros(1, CACHED),
        np.zeros(1),
        latency_models([]),
    )
