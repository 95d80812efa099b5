"""Tuples of tables as arguments by reference.

Numba passes a tuple of arrays by value: seven numbers per array at every call,
two hundred for a fleet, and a type name of thousands of letters in every symbol.
A class marked :func:`by_reference` is passed as one pointer instead, and a field
is loaded where it is used. Nothing changes in plain Python.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.imputils import impl_ret_borrowed, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import NativeValue, register_model, typeof_impl, unbox

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T", bound=type)


class Reference(types.Type):
    """The type of a pointer to a named tuple; named after the class and a digest of its fields' types."""

    def __init__(self, of: types.NamedTuple) -> None:
        self.of = of
        digest = hashlib.sha256(str(of).encode()).hexdigest()[:12]
        super().__init__(name=f"Reference({of.instance_class.__name__}-{digest})")


@register_model(Reference)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, typ: Reference) -> None:
        super().__init__(manager, typ, manager.lookup(typ.of).get_value_type().as_pointer())


@infer_getattr
class _Fields(AttributeTemplate):
    key = Reference

    def generic_resolve(self, typ: Any, name: str) -> Any:
        return typ.of.types[typ.of.fields.index(name)] if name in typ.of.fields else None


@lower_getattr_generic(Reference)
def _load_field(context: Any, builder: Any, typ: Reference, value: Any, name: str) -> Any:
    index = typ.of.fields.index(name)
    field = builder.load(cgutils.gep_inbounds(builder, value, 0, index))
    return impl_ret_borrowed(context, builder, typ.of.types[index], field)


@unbox(Reference)
def _unbox(typ: Reference, value: Any, c: Any) -> NativeValue:
    """Unbox the tuple onto the stack of the call's wrapper, which outlives the call."""
    native = c.unbox(typ.of, value)
    place = cgutils.alloca_once_value(c.builder, native.value)
    return NativeValue(place, is_error=native.is_error, cleanup=native.cleanup)


def by_reference(cls: T) -> T:
    """Have a named tuple of tables passed by reference to compiled functions."""
    as_tuple: Callable[..., types.NamedTuple] = typeof_impl.dispatch(tuple)

    @typeof_impl.register(cls)
    def _typeof(value: Any, context: Any) -> Reference:
        return Reference(as_tuple(value, context))

    return cls
