"""What a batching policy and an order are, and where all of them are filed.

A batching policy is one function, called when a replica may begin a step::

    form(batch, parameters) -> Formation

An order is one function too, called when a request enters a waiting queue; the
lowest rank is served first, of equals who came first::

    rank(request, parameters) -> float

``batch``, ``Formation`` and ``request`` are the tuples of
:mod:`inferencesim.kernel.forming`, and ``parameters`` the values of the policy's
parameters in the order of its declaration. Both are compiled; what they do not
decide (seats, KV blocks, who is preempted) is the kernel's.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferencesim import jit
from inferencesim import policy as policies
from inferencesim.errors import InputError
from inferencesim.kernel.forming import (
    MOST_FUNCTIONS,
    MOST_PARAMETERS,
    sample_batch,
    sample_formation,
    sample_queued,
)
from inferencesim.policy import BoundPolicy, Policy
from inferencesim.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Order(Policy):
    """An order of the waiting queue.

    Attributes
    ----------
    fair : bool
        Whether each tenant has a queue of its own, the one served least coming first (virtual token counter).
    """

    fair: bool = False


FORMERS: Registry[Policy] = Registry(
    "batching policy", "inferencesim.batching", lambda entry: isinstance(entry, Policy)
)
ORDERS: Registry[Order] = Registry("queue order", "inferencesim.orders", lambda entry: isinstance(entry, Order))


def batching_policy(name: str, rule: str, **parameters: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that files a batching policy under `name`."""

    def file(form: Callable[..., Any]) -> Callable[..., Any]:
        FORMERS.register(name)(Policy(form, rule, parameters))
        return form

    return file


def order(
    name: str, rule: str, *, fair: bool = False, **parameters: float
) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Return a decorator that files an order under `name`."""

    def file(rank: Callable[..., float]) -> Callable[..., float]:
        ORDERS.register(name)(Order(rank, rule, parameters, fair=fair))
        return rank

    return file


def find_former(name: str, chosen: Mapping[str, float], where: str) -> Policy:
    """Return a batching policy, having checked that it takes the `chosen` parameters.

    Raises
    ------
    InputError
        For an unknown policy or parameter, at `where`.
    """
    return _compilable(policies.find(FORMERS, name, chosen, where), name, where)


def find_order(name: str, chosen: Mapping[str, float], where: str) -> Order:
    """Return an order, having checked that it takes the `chosen` parameters.

    Raises
    ------
    InputError
        For an unknown order or parameter, at `where`.
    """
    found = policies.find(ORDERS, name, chosen, where)
    assert isinstance(found, Order)  # the registry's check has seen to it
    _compilable(found, name, where)
    return found


def _compilable(found: Policy, name: str, where: str) -> Policy:
    if not found.compiled:
        raise InputError(f"{where}.policy", f"{name} is plain Python", "Inside a replica every policy is compiled.")
    if len(found.parameters) > MOST_PARAMETERS:
        raise InputError(
            f"{where}.policy",
            f"{name} has {len(found.parameters)} parameters",
            f"The kernel passes at most {MOST_PARAMETERS}.",
        )
    return found


def bind_former(name: str, chosen: Mapping[str, float], where: str) -> BoundPolicy:
    """Find a batching policy, fix its parameters and compile it."""
    return policies.bind(find_former(name, chosen, where), name, chosen, "batching", former_signature())


def bind_order(name: str, chosen: Mapping[str, float], where: str) -> BoundPolicy:
    """Find an order, fix its parameters and compile it."""
    return policies.bind(find_order(name, chosen, where), name, chosen, "order", order_signature())


def as_arguments(functions: list[Any], kind: str) -> tuple[Any, ...]:
    """Return different functions as the tuple the kernel takes, its unused places filled with the first.

    Raises
    ------
    InputError
        If there are more of them than the kernel was compiled for.
    """
    if len(functions) > MOST_FUNCTIONS:
        raise InputError(
            "pools",
            f"{len(functions)} different {kind}",
            f"One fleet may have {MOST_FUNCTIONS}; their parameters may differ from pool to pool.",
        )
    return tuple(functions + functions[:1] * (MOST_FUNCTIONS - len(functions)))


@functools.cache
def former_signature() -> Any:
    """Return the Numba signature all batching policies share."""
    from numba import types

    floats = types.Array(types.float64, 1, "C")
    return jit.array_type(sample_formation())(jit.array_type(sample_batch()), floats)


@functools.cache
def order_signature() -> Any:
    """Return the Numba signature all orders share."""
    from numba import types

    floats = types.Array(types.float64, 1, "C")
    return types.float64(jit.array_type(sample_queued()), floats)
