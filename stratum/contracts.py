"""Read an answer as the annotated type, or say why it does not fit."""

from collections.abc import Mapping
from dataclasses import field, is_dataclass
from dataclasses import fields as fields_of
from decimal import Decimal
from functools import cached_property, partial
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from stratum.annotations import check_annotation, type_name, unusable
from stratum.declaring import contract
from stratum.hashing import holds_plain, jsonable
from stratum.neutral import neutral_schema, settled
from stratum.opacity import has_opaque, hides, repeats
from stratum.schemas import (
    Schema,
    definitions,
    fingerprint,
    is_object,
    may_be_fractional,
    smallest,
    wire_schema,
)
from stratum.values import dataclass

if TYPE_CHECKING:  # what is wrong with an answer is told when an answer is wrong
    from stratum.problems import Path

__all__ = ["Contract", "Unreadable", "contract"]

_NEVER_ENDLESS = (str, int, NoneType)
_WRAPPER = len('{"value":}')


class Unreadable(ValueError):
    """An answer that does not fit its contract; `problems` has one line for each reason."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Contract:
    """What an answer must look like, and how it is read.

    `schema` is the neutral schema as JSON data, `hash` its digest. `wrapped` says that the
    root is no object, so that it travels as `{"value": ...}`. Contracts with the same hash
    are equal.

    >>> Contract.of(list[int], where="digits").read({"value": [1, 2]})
    [1, 2]
    """

    hash: str
    name: str = field(compare=False)
    schema: Schema = field(compare=False, repr=False)
    wrapped: bool = field(compare=False)
    annotation: Any = field(compare=False, repr=False)
    adapter: TypeAdapter[Any] = field(compare=False, repr=False)
    fractional: bool = field(compare=False, repr=False)

    @classmethod
    def of(cls, annotation: Any, *, where: str) -> "Contract":
        """Return the contract of an annotation; `where` names its owner in errors.

        Raises `DeclarationError` for what no answer can be read as.
        """
        check_annotation(annotation, where)
        try:
            adapter = TypeAdapter[Any](annotation)
            schema = neutral_schema(adapter)
        except (PydanticSchemaGenerationError, PydanticUserError, TypeError, NameError) as error:
            raise unusable(annotation, where, error) from error
        return cls(
            hash=fingerprint(schema),
            name=type_name(annotation),
            schema=schema,
            wrapped=not is_object(schema),
            annotation=annotation,
            adapter=adapter,
            fractional=may_be_fractional(schema),
        )

    @cached_property
    def wire(self) -> Schema:
        """The schema as it travels: an object at the root."""
        return wire_schema(self.schema)

    @cached_property
    def smallest(self) -> int:
        """A lower bound of the characters of an answer, its wrapper included."""
        return smallest(self.schema) + (_WRAPPER if self.wrapped else 0)

    def read(self, data: Any) -> Any:
        """Return the value that parsed JSON stands for, or raise `Unreadable`.

        A wrapped contract takes its value with and without the wrapper. NaN and infinities
        are refused wherever they stand.
        """
        if self.wrapped and type(data) is dict and len(data) == 1 and "value" in data:
            data = data["value"]
        try:
            value = self.adapter.validator.validate_python(data)
        except ValidationError as error:
            value = self._read_json(data, error)
        if self.fractional and not holds_plain(value):  # as most models do
            _check_finite(value)
        return value

    def dump(self, value: Any) -> Any:
        """Return a value of this contract as JSON data, the same for equal values.

        >>> Contract.of(set[str], where="tags").dump({"b", "a"})
        ['a', 'b']
        """
        dumped = partial(self.adapter.dump_python, value, by_alias=True, warnings="none")
        try:
            return jsonable(dumped())
        except TypeError:  # bytes, addresses, int keys: pydantic knows their JSON
            data = jsonable(dumped(mode="json"))
            return settled(data, self.schema, definitions(self.schema))

    def _read_json(self, data: Any, error: ValidationError) -> Any:
        """Read strict models, which take dates, enums and sets from JSON text only."""
        from json import dumps

        try:
            return self.adapter.validate_json(dumps(data))
        except ValidationError as found:
            error = error if _is_no_json(found) else found
        except (TypeError, ValueError, RecursionError):
            pass
        raise Unreadable(self._problems(data, error))

    def _problems(self, data: Any, error: ValidationError) -> tuple[str, ...]:
        from stratum.problems import not_json, problems

        if isinstance(data, str) and not self.wrapped:
            return (not_json(data, hidden=has_opaque(self.annotation)),)
        return problems(
            error,
            data,
            hides=partial(hides, self.annotation),
            repeats=partial(repeats, self.annotation, data),
        )


def _is_no_json(error: ValidationError) -> bool:
    return error.errors(include_url=False)[0]["type"] == "json_invalid"


def _check_finite(value: Any) -> None:
    from stratum.problems import not_finite

    found = tuple(not_finite(path, number) for path, number in _endless(value, ()))
    if found:
        raise Unreadable(found)


def _endless(value: Any, path: "Path") -> "list[tuple[Path, float | Decimal]]":
    if isinstance(value, float):
        return [] if isfinite(value) else [(path, value)]
    if isinstance(value, Decimal):
        return [] if value.is_finite() else [(path, value)]
    if isinstance(value, BaseModel) and value.__pydantic_root_model__:
        return _endless(value.__dict__["root"], path)
    inner = (each for each in _inner(value) if not isinstance(each[1], _NEVER_ENDLESS))
    return [found for step, each in inner for found in _endless(each, (*path, step))]


def _inner(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, _NEVER_ENDLESS):
        return []
    if isinstance(value, BaseModel):
        return [*value.__dict__.items(), *(value.model_extra or {}).items()]
    if isinstance(value, Mapping):
        return [(str(key), inner) for key, inner in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(enumerate(value))
    if is_dataclass(value):
        return [(one.name, getattr(value, one.name)) for one in fields_of(value)]
    return []
