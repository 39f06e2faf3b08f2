"""Say which attributes and items a value of a type has, as pydantic will build it."""

import datetime as dt
import enum
import inspect
import typing
import uuid
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, TypeAdapter

Node: TypeAlias = Mapping[str, Any]  # of pydantic's core schema
Values: TypeAlias = tuple[Node, ...] | None  # what may stand there; None is unknown

_PYTHON: Mapping[str, type] = {
    "bool": bool, "bytes": bytes, "date": dt.date, "datetime": dt.datetime,
    "decimal": Decimal, "dict": dict, "float": float, "frozenset": frozenset, "int": int,
    "list": list, "none": NoneType, "set": set, "str": str, "time": dt.time,
    "timedelta": dt.timedelta, "tuple": tuple, "typed-dict": dict, "uuid": uuid.UUID,
}  # fmt: skip
_THROUGH = {"custom-error": "schema", "definitions": "schema", "function-before": "schema"}
_ELEMENTS = {"frozenset": "items_schema", "list": "items_schema", "set": "items_schema"}


class Lacking(NamedTuple):
    """What no value at a place has.

    `known` are all names that its values have, `fields` those declared; `instead` says where
    the name is to be found, if it is.
    """

    owner: str
    known: tuple[str, ...]
    fields: tuple[str, ...]
    instead: Literal["attribute", "element", "item"] | None = None


class Types:
    """The attributes and items of what an annotation describes, followed step by step.

    What pydantic or the user's code may make at run time is unknown, and unknown has
    everything: only what can never be there is lacking.
    """

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._defs: dict[str, Any] = {}
        self.root: Values = self._values(_schema_of(adapter))

    def attribute(self, values: Values, name: str) -> "Values | Lacking":
        """Return what an attribute may hold; `Lacking` if no value has it."""
        if values is None or name.startswith("_"):
            return None
        found = [each for each in (self._attribute(node, name) for node in values) if each != ()]
        return _joined(found) if found else self._lacking(values, name)

    def item(self, values: Values, key: Any) -> "Values | Lacking":
        """Return what an item may be; `key` is None when it is not known by now."""
        if values is None:
            return None
        found = [each for each in (self._item(node, key) for node in values) if each != ()]
        if found:
            return _joined(found)
        return self._lacking_item(values) if isinstance(key, str) else None

    def elements(self, values: Values) -> Values:
        """Return what the elements of a list or set may be, or the values of a tuple."""
        if values is None:
            return None
        return _joined([self._elements(node) for node in values if node["type"] != "none"])

    def _attribute(self, node: Node, name: str) -> Values:
        """Return what the attribute of one member may hold, nothing if it has none."""
        fields = self._fields(node)
        if fields and name in fields and node["type"] != "typed-dict":
            return self._values(fields[name].get("schema"))
        return None if any(_has(kind, name) for kind in _kinds(node)) else ()

    def _item(self, node: Node, key: Any) -> Values:
        match node["type"]:
            case "typed-dict":
                return self._typed_item(node, key)
            case "dict":
                return self._values(node.get("values_schema"))
            case "list":
                inner = self._elements(node)
                return inner if isinstance(key, int) else _joined([inner, (node,)])
            case "model" | "dataclass" | "none":
                return None if any(_has(kind, "__getitem__") for kind in _kinds(node)) else ()
        return None

    def _typed_item(self, node: Node, key: Any) -> Values:
        fields = self._fields(node) or {}
        if key in fields:
            return self._values(fields[key].get("schema"))
        is_open = "extras_schema" in node or _allows_more(node)
        return None if is_open or not isinstance(key, str) else ()

    def _elements(self, node: Node) -> Values:
        if node["type"] in _ELEMENTS:
            return self._values(node.get(_ELEMENTS[node["type"]]))
        if node["type"] == "tuple":
            return _joined([self._values(each) for each in node["items_schema"]])
        return None

    def _fields(self, node: Node) -> Mapping[str, Any] | None:
        """Return the fields of a member, with an unknown schema where a validator has a say."""
        if node["type"] == "typed-dict":
            return typing.cast(Mapping[str, Any], node["fields"])
        if node["type"] == "model" and node.get("root_model"):
            return {"root": {"schema": node["schema"]}}
        inner = node.get("schema") if node["type"] in ("model", "dataclass") else None
        is_sure = True
        while inner is not None and str(inner["type"]).startswith("function-"):
            is_sure = is_sure and inner["type"] == "function-before"
            inner = inner.get("schema")
        if inner is None:
            return None
        listed = inner.get("fields", {})
        if not isinstance(listed, Mapping):  # of a dataclass
            listed = {field["name"]: field for field in listed}
        return listed if is_sure else {name: {} for name in listed}

    def _values(self, node: Any) -> Values:
        """Return the members that a value may be of, unions and references followed."""
        if not isinstance(node, Mapping) or "type" not in node:
            return None
        kind = node["type"]
        for one in node.get("definitions", ()) if kind == "definitions" else ():
            self._defs[one["ref"]] = one
        if kind in _THROUGH:
            return self._values(node.get(_THROUGH[kind]))
        match kind:
            case "definition-ref":
                return self._values(self._defs.get(node["schema_ref"]))
            case "nullable":
                return _joined([self._values(node["schema"]), ({"type": "none"},)])
            case "default":
                return _with_default(self._values(node["schema"]), node)
            case "union" | "tagged-union":
                return _joined([self._values(each) for each in _choices(node)])
            case "lax-or-strict":
                return _joined([self._values(node[f"{m}_schema"]) for m in ("lax", "strict")])
            case "json-or-python":
                return _joined([self._values(node[f"{m}_schema"]) for m in ("json", "python")])
            case "function-after":
                return self._values(node["schema"]) if _gives_itself(node) else None
        return (node,) if kind in _PYTHON or kind in _KNOWN else None

    def _lacking(self, values: tuple[Node, ...], name: str) -> Lacking:
        solid = _solid(values)
        fields = self._declared(solid)
        known = (*fields, *(each for node in solid for each in _names(node)))
        instead: Literal["element", "item"] | None = None
        if any(node["type"] == "typed-dict" and name in node["fields"] for node in solid):
            instead = "item"
        elif any(self._in_elements(node, name) for node in solid):
            instead = "element"
        return Lacking(_named(solid), known, fields, instead)

    def _lacking_item(self, values: tuple[Node, ...]) -> Lacking:
        solid = _solid(values)
        fields = self._declared(solid)
        typed = all(node["type"] == "typed-dict" for node in solid)
        return Lacking(_named(solid), fields, fields, None if typed else "attribute")

    def _declared(self, values: tuple[Node, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for node in values for name in self._fields(node) or ()))

    def _in_elements(self, node: Node, name: str) -> bool:
        inner = self._elements(node) if node["type"] in _ELEMENTS else None
        return bool(inner) and not isinstance(self.attribute(inner, name), Lacking)


_KNOWN = frozenset({"call", "dataclass", "enum", "literal", "model", "named-tuple"})


def _solid(values: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(node for node in values if node["type"] != "none") or values


def _names(node: Node) -> Iterator[str]:
    for kind in _kinds(node):
        kinds = inspect.getmro(kind) if isinstance(kind, type) else ()
        own = (name for one in kinds if one not in (BaseModel, object) for name in vars(one))
        yield from (name for name in own if not name.startswith("_"))


def _schema_of(adapter: TypeAdapter[Any]) -> Any:
    try:
        return adapter.core_schema
    except Exception:  # one that pydantic has put off, or a later pydantic's
        return None


def _joined(parts: Iterable[Values]) -> Values:
    found: list[Node] = []
    for part in parts:
        if part is None:
            return None
        found += part
    return tuple(found)


def _choices(node: Node) -> Iterator[Any]:
    choices = node["choices"]
    for each in choices.values() if isinstance(choices, Mapping) else choices:
        yield each[0] if isinstance(each, tuple) else each


def _with_default(values: Values, node: Node) -> Values:
    """Add a default as a member of its own, where it is of another type than declared."""
    if values is None or "default" not in node:
        return values
    default = node["default"]
    if type(default) in {kind for each in values for kind in _kinds(each)}:
        return values
    return (*values, {"type": "literal", "expected": [default]})


def _gives_itself(node: Node) -> bool:
    """Say whether a validator that runs last is declared to return the model it is given."""
    inner, function = node["schema"], node["function"].get("function")
    if inner.get("type") not in ("model", "dataclass"):
        return False
    function = getattr(function, "__func__", function)
    declared = getattr(function, "__annotations__", {}).get("return")
    name = inner["cls"].__name__
    return declared in (typing.Self, inner["cls"], "Self", "typing.Self", name, f"'{name}'")


def _allows_more(node: Node) -> bool:
    config = node.get("config") or {}
    return "allow" in (node.get("extra_behavior"), config.get("extra_fields_behavior"))


def _kinds(node: Node) -> tuple[Any, ...]:
    """Return the classes, or enum members, that a value of one member may belong to."""
    match node["type"]:
        case "model" | "dataclass" | "named-tuple":
            return (node["cls"],)
        case "call":
            return (node["function"],)
        case "enum":
            return tuple(node["members"])
        case "literal":
            return tuple(
                each if isinstance(each, enum.Enum) else type(each) for each in node["expected"]
            )
    return (_PYTHON[node["type"]],)


def _has(kind: Any, name: str) -> bool:
    """Say whether an instance may have the attribute, whatever its class makes of it."""
    if isinstance(kind, enum.Enum):
        return inspect.getattr_static(kind, name, _MISSING) is not _MISSING
    if not isinstance(kind, type):  # a function that makes the value
        return True
    return _is_dynamic(kind) or any(name in vars(one) for one in inspect.getmro(kind))


_MISSING: Any = object()


def _is_dynamic(kind: type) -> bool:
    if issubclass(kind, BaseModel) and kind.model_config.get("extra") == "allow":
        return True
    for one in inspect.getmro(kind):
        if one in (BaseModel, object) or one.__module__ == "builtins":
            continue
        own = vars(one)
        if own.keys() & {"__getattr__", "__getattribute__", "__post_init__", "model_post_init"}:
            return True
        if "__init__" in own and issubclass(kind, BaseModel):
            return True
    return False


def _named(values: Iterable[Node]) -> str:
    kinds = (kind for node in values for kind in _kinds(node))
    names = (kind.__name__ if isinstance(kind, type) else type(kind).__name__ for kind in kinds)
    return " or ".join(dict.fromkeys(names))
