"""Turn values into canonical JSON and its digest."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from math import isfinite
from pathlib import PurePath
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel
from pydantic_core import to_json

if TYPE_CHECKING:
    from hashlib import _Hash

SHORT = 12  # hex digits shown to people

_PLAIN = frozenset({str, int, bool, type(None)})  # JSON as they are; subclasses are looked at


def canonical(value: Any) -> str:
    """Return the one JSON text of a JSON value: sorted keys, no spaces, ASCII, no NaN.

    >>> canonical({"b": [1, None], "a": "é"})
    '{"a":"\\\\u00e9","b":[1,null]}'
    """
    return _encoder()(value)


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON, in 64 hex digits.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return digest_of(canonical(value))


def digest_of(text: str) -> str:
    """Return the digest of a value whose canonical JSON is at hand."""
    return _sha256()(text.encode("ascii")).hexdigest()


def digest_texts(*texts: str) -> str:
    """Return the digest of a list of texts, which seldom need the general encoder.

    >>> digest_texts("a", "é") == digest(["a", "é"])
    True
    """
    for text in texts:
        if not text.isascii() or "\x7f" in text:
            return digest(list(texts))
    return _sha256()(to_json(texts)).hexdigest()  # of these it writes what Python does


# The modules take milliseconds to load, which a program that makes no call need not spend.
@cache
def _sha256() -> "Callable[[bytes], _Hash]":
    from hashlib import sha256

    return sha256


@cache
def _encoder() -> Callable[[Any], str]:
    from json import JSONEncoder

    ascii_only = JSONEncoder(
        ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return ascii_only.encode


def short(full: str) -> str:
    """Return the part of a digest that is shown to people."""
    return full[:SHORT]


def jsonable(value: Any, path: str = "value") -> Any:
    """Return the value as JSON data, the same for equal values on every run.

    Sets are sorted, models and dataclasses become objects, dates ISO text. What has no
    such form raises `TypeError` with the path, the type and the remedy.

    >>> jsonable({"tags": {"b", "a"}, "on": date(2026, 1, 2)})
    {'tags': ['a', 'b'], 'on': '2026-01-02'}
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return _finite(value, path)
    if kind is dict:
        return _object(value, path)
    if isinstance(value, BaseModel):
        if _is_flat(type(value)) and holds_plain(value):
            return dict(value.__dict__)
        return jsonable(value.model_dump(mode="python"), path)
    if isinstance(value, Mapping):
        return _object(value, path)
    if isinstance(value, (list, tuple)):
        return [
            v if type(v) in _PLAIN or _is_number(v) else jsonable(v, f"{path}[{i}]")
            for i, v in enumerate(value)
        ]
    if isinstance(value, (set, frozenset)):
        return sorted((jsonable(v, f"{path}[...]") for v in value), key=canonical)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name), f"{path}.{f.name}") for f in fields(value)}
    return _scalar(value, path)


@lru_cache(maxsize=1024)
def _is_flat(model: type[BaseModel]) -> bool:
    """Say whether a model's fields are its JSON, for each holds what is JSON as it is."""
    made = model.__pydantic_decorators__
    if made.field_serializers or made.model_serializers or made.computed_fields:
        return False
    own_ways = ("model_dump", "__get_pydantic_core_schema__")
    bases = [each for each in model.__mro__ if each not in BaseModel.__mro__]
    if model.__pydantic_root_model__ or any(n in vars(b) for b in bases for n in own_ways):
        return False
    return all(
        _is_plain_type(field.annotation)
        and (field.alias, field.serialization_alias, field.exclude) == (None, None, None)
        and not any(hasattr(each, "__get_pydantic_core_schema__") for each in field.metadata)
        for field in model.model_fields.values()
    )


def _is_plain_type(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return all(map(_is_plain_type, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return all(type(each) in _PLAIN for each in get_args(annotation))
    return annotation is float or annotation in _PLAIN


def holds_plain(value: Any) -> bool:
    """Say whether a value is a model that holds its fields alone, each JSON as it is."""
    if getattr(value, "__pydantic_extra__", True):
        return False
    held = value.__dict__
    if len(held) != len(type(value).__pydantic_fields__):
        return False
    for each in held.values():
        kind = type(each)
        if kind not in _PLAIN and not (kind is float and isfinite(each)):
            return False
    return True


def _object(value: Mapping[Any, Any], path: str) -> dict[str, Any]:
    named = {
        k if type(k) is str else _key(k, path): (
            v if type(v) in _PLAIN or _is_number(v) else jsonable(v, f"{path}[{k!r}]")
        )
        for k, v in value.items()
    }
    if len(named) == len(value):
        return named
    twice = Counter(_key(k, path) for k in value).most_common(1)[0][0]
    raise TypeError(f"{path} has the key {twice!r} twice, in different types; keep one of them")


def _scalar(value: Any, path: str) -> Any:
    match value:
        case Enum():
            return jsonable(value.value, path)
        case bool() | int():
            return int(value)
        case float():
            return _finite(float(value), path)
        case str():
            return str.__str__(value)  # a subclass may say something else
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal() | UUID():
            return str(value)
        case PurePath():
            return value.as_posix()
    raise TypeError(
        f"{path} is a {type(value).__qualname__}, which has no deterministic text; "
        "pass a str, number, list, dict, date, enum, dataclass or pydantic model instead"
    )


def _is_number(value: Any) -> bool:
    return type(value) is float and isfinite(value)


def _finite(value: float, path: str) -> float:
    if isfinite(value):
        return value
    raise TypeError(f"{path} is {value}, which JSON cannot carry; pass a finite number or None")


def _key(key: Any, path: str) -> str:
    if isinstance(key, Enum):
        key = key.value
    if isinstance(key, str):
        return str.__str__(key)
    raise TypeError(f"{path} has the key {key!r} of type {type(key).__qualname__}; use str keys")
