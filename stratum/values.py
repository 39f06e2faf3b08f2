"""Dataclasses whose methods are made when they are first used.

The standard decorator writes and compiles up to eight functions for each class: that took most of
`import stratum`, and most programs use one or two of them. This one takes the same options, makes
the same fields, and makes the standard decorator's methods one by one, when they are looked up.

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
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

T = TypeVar("T")


def _dataclass(
    *, frozen: bool = False, slots: bool = False, eq: bool = True
) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        written = vars(cls)
        made = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
        later = ["__init__", "__repr__", *(["__eq__"] if eq else [])]
        if eq and frozen:
            later.append("__hash__")
        for name in later:
            if name not in written:
                setattr(made, name, _Later(made, name, frozen=frozen))
        if eq and not frozen and "__hash__" not in written:
            _set(made, __hash__=None)
        if frozen:
            _set(made, __setattr__=_refuse_to_assign, __delattr__=_refuse_to_delete)
        if frozen and slots:
            _set(made, __getstate__=_state, __setstate__=_set_state)
        return made

    return decorate


if TYPE_CHECKING:  # type checkers know the standard one, and what it does to a class
    from dataclasses import dataclass as dataclass
else:
    dataclass = _dataclass


class _Later:
    """Stands in a class for a method of its, until that is looked up."""

    def __init__(self, owner: type, name: str, *, frozen: bool) -> None:
        self._owner = owner
        self._name = name
        self._frozen = frozen

    def __get__(self, value: object, kind: type | None = None) -> Any:
        method = vars(self._twin())[self._name]
        if self._name == "__init__" and self._frozen and "__slots__" in vars(self._owner):
            method = _quick(method, self._owner)
        setattr(self._owner, self._name, method)
        return method if value is None else method.__get__(value)

    def _twin(self) -> type:
        """Return a class of the same fields that has the method."""
        owner, name = self._owner, self._name
        fields = dataclasses.fields(owner)
        body = {"__qualname__": owner.__qualname__, "__doc__": owner.__doc__}
        if hasattr(owner, "__post_init__"):
            body["__post_init__"] = owner.__post_init__
        return dataclasses.make_dataclass(
            owner.__name__,
            [(field.name, field.type, field) for field in fields],
            namespace=body,
            init=name == "__init__",
            repr=name == "__repr__",
            eq=name in ("__eq__", "__hash__"),
            frozen=self._frozen and name in ("__init__", "__hash__"),
            slots=not all(field.init for field in fields),  # else defaults of these are not set
        )


def _quick(standard: Any, owner: type) -> Any:
    """Return an `__init__` like the standard one of a frozen class with slots, twice as fast.

    That one sets each field by a call of `object.__setattr__`. This one lets the value be of a
    class with the same slots, and not frozen, while it is filled.
    """
    if owner.__bases__ != (object,):
        return standard
    fields = [(field.name, field.type, field) for field in dataclasses.fields(owner)]
    unfrozen = dataclasses.make_dataclass(
        owner.__name__,
        fields,
        namespace={"__qualname__": owner.__qualname__},
        repr=False,
        eq=False,
        slots=True,
    )
    fill: Callable[..., None] = vars(unfrozen)["__init__"]
    become = vars(object)["__class__"].__set__
    check: Callable[[Any], None] | None = getattr(owner, "__post_init__", None)

    @wraps(standard)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.__class__ is not owner:  # but of a class below it
            standard(self, *args, **kwargs)
            return
        become(self, unfrozen)
        if kwargs:
            fill(self, *args, **kwargs)
        else:
            fill(self, *args)
        self.__class__ = owner
        if check is not None:
            check(self)

    return init


def _set(cls: type, **methods: Any) -> None:
    for name, method in methods.items():
        setattr(cls, name, method)


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
