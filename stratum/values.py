"""Dataclasses whose parts are made when they are first used.

The standard decorator reads the fields, and writes and compiles up to eight functions, for each
class: that took most of `import stratum`, and most programs use one or two of them. This one
takes the same options. Each part of what the standard one makes is made, by it, when it is looked
up. Every annotation is a field, and base classes have none.

>>> @dataclass(frozen=True, slots=True)
... class Point:
...     "A place on paper."
...
...     x: int
...     y: int = 0
>>> Point(3)
Point(x=3, y=0)
"""

import dataclasses
from collections.abc import Callable, Mapping
from inspect import get_annotations
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_OF_FIELDS = ("__dataclass_fields__", "__dataclass_params__", "__match_args__")


def _dataclass(
    *, frozen: bool = False, slots: bool = False, eq: bool = True
) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        written, fields = vars(cls), get_annotations(cls)
        declared = {name: written[name] for name in fields if name in written}
        names = ["__init__", "__repr__", *_OF_FIELDS]
        if eq:
            names.append("__eq__")
        if eq and frozen:
            names.append("__hash__")
        parts: dict[str, Any] = {
            name: _Later(fields, declared, frozen=frozen) for name in names if name not in written
        }
        parts["__replace__"] = dataclasses.replace
        if eq and not frozen and "__hash__" not in written:
            parts["__hash__"] = None
        if frozen:
            parts |= {"__setattr__": _refuse_to_assign, "__delattr__": _refuse_to_delete}
        if frozen and slots:
            parts |= {"__getstate__": _state, "__setstate__": _set_state}
        return _with_slots(cls, fields, parts) if slots else _with(cls, declared, parts)

    return decorate


if TYPE_CHECKING:  # type checkers know the standard one, and what it does to a class
    from dataclasses import dataclass as dataclass
else:
    dataclass = _dataclass


def _with(cls: type[T], declared: Mapping[str, Any], parts: Mapping[str, Any]) -> type[T]:
    """Put the parts, and the fields' defaults, into a class."""
    for name, part in parts.items():
        setattr(cls, name, part)
        if isinstance(part, _Later):
            part.__set_name__(cls, name)
    for name, value in declared.items():
        if not isinstance(value, dataclasses.Field):
            continue
        if value.default is dataclasses.MISSING:
            delattr(cls, name)
        else:
            setattr(cls, name, value.default)
    return cls


def _with_slots(cls: type[T], fields: Mapping[str, Any], parts: Mapping[str, Any]) -> type[T]:
    """Return the class again, with the parts, and a slot for each field."""
    left_out = {"__dict__", "__weakref__", *fields}
    body = {name: value for name, value in vars(cls).items() if name not in left_out}
    kind: type[Any] = type(cls)
    made: type[T] = kind(cls.__name__, cls.__bases__, {**body, **parts, "__slots__": tuple(fields)})
    made.__qualname__ = cls.__qualname__
    return made


class _Later:
    """Stands in a class for a part of it, until that is looked up."""

    def __init__(
        self, fields: Mapping[str, Any], declared: Mapping[str, Any], *, frozen: bool
    ) -> None:
        self._fields = fields
        self._declared = declared
        self._frozen = frozen

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, value: object, kind: type | None = None) -> Any:
        setattr(self._owner, self._name, vars(self._twin())[self._name])
        return getattr(kind if value is None else value, self._name)

    def _twin(self) -> type:
        """Return a standard dataclass of the same fields that has the part."""
        owner, name = self._owner, self._name
        decorate = dataclasses.dataclass(
            init=name == "__init__",
            repr=name == "__repr__",
            eq=name in ("__eq__", "__hash__"),
            frozen=self._frozen and name in ("__init__", "__hash__"),
            # Else a field that is no parameter does not get its default.
            slots=name == "__init__" and "__slots__" in vars(owner),
        )
        return decorate(_like(owner, self._fields, self._declared))


def _like(owner: type, fields: Mapping[str, Any], declared: Mapping[str, Any]) -> type:
    """Return a class that declares the same fields, for the standard decorator."""
    body = {
        "__annotations__": fields,
        "__doc__": owner.__doc__ or owner.__name__,
        "__module__": owner.__module__,
        "__qualname__": owner.__qualname__,
        **declared,
    }
    if hasattr(owner, "__post_init__"):
        body["__post_init__"] = owner.__post_init__
    return type(owner.__name__, (), body)


def maker(owner: Callable[P, T]) -> Callable[P, T]:
    """Return what makes values of a frozen class with slots, by position, three times as fast.

    The standard `__init__` sets each field by a call of `object.__setattr__`. This lets the value
    be of a class with the same slots, and not frozen, until it is filled.
    """
    unfrozen: Callable[..., Any] | None = None

    def make(*args: Any) -> Any:
        nonlocal unfrozen
        if unfrozen is None:
            unfrozen = _unfrozen(cast(type, owner))
        value = unfrozen(*args)
        value.__class__ = owner
        return value

    return cast(Callable[P, T], make)


def _unfrozen(owner: type) -> type:
    declared = {field.name: field for field in dataclasses.fields(owner)}
    fields = {name: field.type for name, field in declared.items()}
    decorate = dataclasses.dataclass(repr=False, eq=False, slots=True)
    return decorate(_like(owner, fields, declared))


def _refuse_to_assign(_: object, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(value: Any) -> list[Any]:
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def _set_state(value: Any, state: list[Any]) -> None:
    """Fill a copy of a frozen value, or one that was unpickled."""
    for field, part in zip(dataclasses.fields(value), state, strict=True):
        object.__setattr__(value, field.name, part)
