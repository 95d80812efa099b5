"""What routing and batching policies have in common: a name, parameters, and a function, compiled for one signature.

A policy of another package is such a record under an entry point; nothing else
tells it from those that are built in.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from inferencesim import jit
from inferencesim.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from inferencesim.registry import Registry


@dataclass(frozen=True)
class Policy:
    """A policy.

    Attributes
    ----------
    choose : callable
        What it does; its arguments are those of its kind.
    rule : str
        The same in one line.
    parameters : mapping
        Name → default, in the order `choose` reads them.
    compiled : bool
        Whether `choose` is to be compiled.
    oracle : bool
        Whether it looks at what nobody can know in a real system; results say so.
    reads_caches : bool or str
        Whether it asks what prefix caches hold, which are looked at only then; or the parameter that, above 0, says so.
    """

    choose: Callable[..., Any]
    rule: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    compiled: bool = True
    oracle: bool = False
    reads_caches: bool | str = False


@dataclass(frozen=True)
class BoundPolicy:
    """A policy with its parameters, ready to be called.

    Attributes
    ----------
    name : str
    choose : callable
        Compiled for the signature of its kind if `interpreted` is false.
    argument : object
        `choose` as the kernel takes it.
    parameters : ndarray of float64
    interpreted : bool
    reads_caches : bool
    """

    name: str
    choose: Callable[..., Any]
    argument: Any
    parameters: NDArray[np.float64]
    interpreted: bool
    reads_caches: bool = False


def find(registry: Registry[Any], name: str, chosen: Mapping[str, float], where: str) -> Policy:
    """Return the policy called `name`, having checked that it takes the `chosen` parameters.

    Raises
    ------
    InputError
        For an unknown policy or parameter, at `where`.
    """
    found: Policy = registry.get(name, f"{where}.policy")
    for parameter in chosen:
        if parameter not in found.parameters:
            raise InputError(
                f"{where}.parameters.{parameter}",
                f"{name} has no such parameter",
                did_you_mean(parameter, found.parameters) if found.parameters else "It takes none.",
            )
    return found


def bind(found: Policy, name: str, chosen: Mapping[str, float], kind: str, signature: Any) -> BoundPolicy:
    """Fix a policy's parameters, and compile it for a signature.

    Raises
    ------
    InputError
        If it cannot be compiled.
    """
    parameters = {key: chosen.get(key, default) for key, default in found.parameters.items()}
    values = np.array(list(parameters.values()), dtype=np.float64)
    reads_caches = found.reads_caches
    if isinstance(reads_caches, str):
        reads_caches = parameters[reads_caches] > 0.0
    if not found.compiled:
        return BoundPolicy(name, found.choose, None, values, True, reads_caches)
    try:
        choose = _compiled(found.choose, signature)
    except Exception as problem:  # Numba raises many kinds, and a policy may be somebody else's
        raise failed(kind, name, problem) from problem
    return BoundPolicy(name, choose, jit.as_argument(choose, signature), values, False, reads_caches)


def failed(kind: str, name: str, problem: Exception) -> InputError:
    """Return the error for a policy that cannot be compiled, or fails at work."""
    # Numba begins with the stage of its own that failed; the cause comes after.
    lines = [line for line in str(problem).splitlines() if line.strip() and not line.startswith("Failed in ")]
    first_line = lines[0] if lines else ""
    remedy = "Mend the policy."
    if kind == "routing":
        remedy = "Mend the policy; one that Numba cannot compile needs Policy(..., compiled=False)."
    return InputError(f"{kind}: {name}", f"the policy fails ({type(problem).__name__}: {first_line})", remedy)


@functools.cache
def _compiled(choose: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    return jit.compile_for(signature, choose)
