"""Declare a class as a contract."""

import sys
import types
from dataclasses import is_dataclass
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    TypeVar,
    cast,
    dataclass_transform,
    get_origin,
    is_typeddict,
)

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from stratum.errors import DeclarationError

if TYPE_CHECKING:
    from pydantic import Field
else:
    Field = None  # only type checkers read it, and importing it takes 15 ms

T = TypeVar("T")

_MADE = {"__dict__", "__orig_bases__", "__parameters__", "__weakref__"}  # of every class anew


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
def contract(cls: type[T]) -> type[T]:
    """Declare a class of annotated fields as something that a model can answer with.

    A pydantic model is returned as it is. A plain class becomes one with the same name,
    methods and defaults. Raises `DeclarationError` for anything else.

    >>> @contract
    ... class Verdict:
    ...     label: str
    ...     confidence: float = 1.0
    >>> Verdict(label="spam").confidence
    1.0
    """
    _check_class(cls)
    model = cls if issubclass(cls, BaseModel) else _as_model(cls, sys._getframe(1))
    if not model.model_fields:
        raise _mistake(cls, "it has no fields", "Annotate at least one: name: type.")
    return model  # type: ignore[return-value]


def _as_model(cls: type, frame: types.FrameType) -> type[BaseModel]:
    written = vars(cls).get("__orig_bases__", cls.__bases__)  # Generic[T] among them
    plain = [base for base in written if base is not object and get_origin(base) is not Generic]
    generic = [base for base in written if get_origin(base) is Generic]
    bases = (*plain, BaseModel, *generic)
    own = {name: value for name, value in vars(cls).items() if name not in _MADE}
    try:
        model: Any = types.new_class(cls.__name__, bases, exec_body=lambda body: body.update(own))
    except PydanticUserError as error:
        problem = error.message.partition(". ")[0]
        raise _mistake(cls, problem, "Annotate every field: name: type = default.") from error
    for value in own.values():
        _adopt(value, model)
    known = {**frame.f_globals, **frame.f_locals}
    model.model_rebuild(raise_errors=False, _types_namespace=known)
    return cast(type[BaseModel], model)


def _adopt(method: Any, model: type) -> None:
    """Let `super()` in a method mean the new class."""
    for wrapped in ("fget", "func", "wrapped", "__func__", "__wrapped__"):
        method = getattr(method, wrapped, None) or method
    code = getattr(method, "__code__", None)
    if code is not None and "__class__" in code.co_freevars:
        method.__closure__[code.co_freevars.index("__class__")].cell_contents = model


def _check_class(cls: Any) -> None:
    if not isinstance(cls, type):
        raise DeclarationError(
            f"@contract was given {cls!r}, which is no class.\n"
            "  Write @contract, without parentheses, above a class with annotated fields."
        )
    if is_dataclass(cls):
        raise _mistake(cls, "it is a dataclass", "Remove @dataclass: @contract does its work.")
    if issubclass(cls, (Enum, tuple)) or is_typeddict(cls) or getattr(cls, "_is_protocol", False):
        raise _mistake(
            cls,
            "it is an enum, tuple, TypedDict or protocol",
            "Use a plain class; enums, named tuples and TypedDicts need no decorator.",
        )


def _mistake(cls: type, problem: str, remedy: str) -> DeclarationError:
    name = f"{cls.__module__}.{cls.__qualname__}"
    return DeclarationError(f"@contract cannot use {name}: {problem}.\n  {remedy}")
