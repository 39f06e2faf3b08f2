"""Fill a schema with values by chance."""

import json
import math
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

from stratum.hashing import canonical
from stratum.schemas import Schema, definitions, referred, resolved
from stratum.testing.patterns import alternatives

Node: TypeAlias = Mapping[str, Any]

_DEEP = 4  # levels, below which every choice is the one that ends soonest
_MANY = 3  # elements more than there must be
_VOCABULARY = """
    amber birch cedar delta ember fjord grove harbor island juniper kestrel lantern meadow
    nectar orchard pebble quartz river saffron thistle umber valley willow yarrow zephyr
"""
_WORDS = tuple(_VOCABULARY.split())
_START = datetime(2026, 1, 1, tzinfo=UTC)


class Endless(ValueError):
    """A schema whose values would have to hold themselves."""


def filled(schema: Schema, chance: Random, turn: int = 0) -> Any:
    """Return JSON data that fits the schema, as far as a schema can say what fits.

    Every later turn keeps closer to what the schema gives away: its examples and defaults.

    >>> filled({"type": "integer", "minimum": 3, "maximum": 3}, Random(0))
    3
    """
    filler = _Filler(schema, chance, turn)
    if filler.height(schema) == math.inf:
        raise Endless("a value would have to hold another one of its kind, without end")
    return filler.value(schema, 0)


class _Filler:
    """One value in the making."""

    def __init__(self, schema: Schema, chance: Random, turn: int) -> None:
        self._defs = definitions(schema)
        self._chance = chance
        self._turn = turn
        self._heights: dict[str, float] = dict.fromkeys(self._defs, math.inf)
        for _ in self._defs:  # each round settles at least one definition
            self._heights = {name: self.height(node) for name, node in self._defs.items()}

    def height(self, node: Any) -> float:
        """Return how many levels the flattest value has; infinite if there is no end."""
        if not isinstance(node, dict):
            return 0
        name = referred(node)
        if name is not None:
            return self._heights.get(name, math.inf)
        own = max((self.height(each) for each in node.get("allOf", ())), default=0)
        branches = node.get("anyOf") or node.get("oneOf")
        if branches:
            return max(own, min(map(self.height, branches)))
        return max(own, self._typed_height(node))

    def _typed_height(self, node: Node) -> float:
        if "properties" in node or node.get("minProperties"):
            fields = node.get("properties", {})
            inner = [fields.get(name, {}) for name in node.get("required", ())]
            more = [node.get("additionalProperties")] if node.get("minProperties") else []
            return 1 + max(map(self.height, [*inner, *more]), default=0)
        least = node.get("minItems", 0)
        if not least:
            return 0
        heads = node.get("prefixItems", [])[:least]
        rest = [node.get("items")] if least > len(heads) else []
        return 1 + max(map(self.height, [*heads, *rest]), default=0)

    def value(self, node: Any, depth: int) -> Any:
        node = self._plain(node)
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return self._chance.choice(node["enum"])
        given = [*node.get("examples", ()), *([node["default"]] if "default" in node else ())]
        if given and (self._turn % 2 or (depth > 0 and self._chance.random() < 0.2)):
            return self._chance.choice(given)
        branches = node.get("anyOf") or node.get("oneOf")
        if branches:
            rest = {key: each for key, each in node.items() if key not in ("anyOf", "oneOf")}
            return self.value(_merged(rest, self._plain(self._branch(branches, depth))), depth)
        return self._typed(node, depth)

    def _plain(self, node: Any) -> Schema:
        """Return a node with its reference and all its parts in one."""
        made: Schema = resolved(node, self._defs) if isinstance(node, dict) else {}
        parts = made.get("allOf", ())
        made = {key: value for key, value in made.items() if key != "allOf"}
        for part in parts:
            made = _merged(self._plain(part), made)
        return made

    def _branch(self, branches: list[Any], depth: int) -> Any:
        ending = [each for each in branches if self.height(each) < math.inf]
        if depth < _DEEP:
            return self._chance.choice(ending)
        return min(ending, key=self.height)

    def _typed(self, node: Schema, depth: int) -> Any:
        match _kind(node, self._chance):
            case "object":
                return self._object(node, depth)
            case "array":
                return self._array(node, depth)
            case "integer":
                return self._integer(node)
            case "number":
                return self._number(node)
            case "boolean":
                return self._chance.random() < 0.5
            case "null":
                return None
        return self._text(node, depth)

    def _object(self, node: Schema, depth: int) -> Any:
        fields = node.get("properties", {})
        made = {
            name: self.value(inner, depth + 1)
            for name, inner in fields.items()
            if name in node.get("required", ()) or self._adds(inner, depth)
        }
        return {**made, **self._entries(node, depth, len(made), known=fields)}

    def _adds(self, inner: Any, depth: int) -> bool:
        """Say whether an optional part comes along."""
        height = self.height(inner)
        return height < math.inf and depth + height < _DEEP and self._chance.random() < 0.7

    def _entries(self, node: Schema, depth: int, have: int, *, known: Node) -> dict[str, Any]:
        """Return entries beside the declared fields: those that must be, and some of a mapping."""
        patterns = node.get("patternProperties") or {}
        pattern, inner = next(iter(patterns.items()), ("", node.get("additionalProperties")))
        least = max(node.get("minProperties", 0) - have, 0)
        free = isinstance(inner, dict) and not known and self._adds(inner, depth)
        most = min(least + self._chance.randint(1, _MANY) * free, node.get("maxProperties", 99))
        names = {"type": "string", **self._plain(node.get("propertyNames", {}))}
        if pattern:
            names["pattern"] = pattern
        made: dict[str, Any] = {}
        for _ in range(20 * most):
            if len(made) >= most:
                break
            name = self.value(names, depth)
            if name not in known:
                made[str(name)] = self.value(inner, depth + 1)
        return made

    def _array(self, node: Schema, depth: int) -> list[Any]:
        heads, rest = node.get("prefixItems", []), node.get("items", {})
        least = max(node.get("minItems", 0), len(heads))
        free = rest is not False and "items" in node and self._adds(rest, depth)
        most = min(node.get("maxItems", math.inf), least + self._chance.randint(1, _MANY) * free)
        made = [self.value(head, depth + 1) for head in heads]
        if not node.get("uniqueItems"):
            return made + [self.value(rest, depth + 1) for _ in range(int(most) - len(made))]
        different = {canonical(each): each for each in made}
        for _ in range(20 * int(most)):
            if len(different) >= most:
                break
            each = self.value(rest, depth + 1)
            different[canonical(each)] = each
        return list(different.values())

    def _integer(self, node: Schema) -> int:
        step = node.get("multipleOf", 1)
        step = step if float(step).is_integer() else 1
        low, high = _bounds(node, 1)
        first, last = math.ceil(low / step), math.floor(high / step)
        return int(self._chance.randint(first, max(first, last)) * step)

    def _number(self, node: Schema) -> float:
        step = node.get("multipleOf")
        if step:
            low, high = _bounds(node, step)
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            return float(self._chance.randint(first, max(first, last)) * step)
        low, high = _bounds(node, 0)
        number = self._chance.uniform(low, high)
        tries = [round(number, digits) for digits in (2, 4, 6)] + [number, (low + high) / 2]
        return next((each for each in tries if _is_within(each, node)), number)

    def _text(self, node: Schema, depth: int) -> str:
        least, most = node.get("minLength", 0), node.get("maxLength", math.inf)
        if node.get("contentMediaType") == "application/json" or "contentSchema" in node:
            return json.dumps(self.value(node.get("contentSchema", {}), depth + 1))
        make = _FORMATS.get(node.get("format", ""))
        if make is not None:
            return make(self._chance)
        if "pattern" in node:
            return self._matching(node["pattern"], least, most)
        text = " ".join(self._chance.choices(_WORDS, k=self._chance.randint(1, 4)))
        while len(text) < least:
            text = f"{text} {self._chance.choice(_WORDS)}"
        return text if len(text) <= most else _cut(text, least, int(most))

    def _matching(self, pattern: str, least: int, most: float) -> str:
        """Return a text that fits a pattern and its bounds, one of several if there are some."""
        spares = [*range(8), *range(max(least - 2, 8), min(least, 500) + 3)]
        made = []
        for spare in spares:
            with suppress(IndexError, ValueError, re.error):
                made.append(alternatives(pattern, spare)[0])
        fitting = [each for each in dict.fromkeys(made) if least <= len(each) <= most]
        with suppress(re.error):
            fitting = [each for each in fitting if re.search(pattern, each)] or fitting
        return self._chance.choice(fitting) if fitting else "".join(made[:1])


def _merged(first: Schema, second: Schema) -> Schema:
    """Return one node that takes what both take, as far as it can be said."""
    made = {**first, **second}
    if "properties" in first and "properties" in second:
        made["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        made["required"] = [*first["required"], *second["required"]]
    return made


def _kind(node: Schema, chance: Random) -> str:
    kinds = node.get("type")
    if isinstance(kinds, list):
        return str(chance.choice(kinds))
    if kinds is not None:
        return str(kinds)
    if node.keys() & {"properties", "additionalProperties"}:
        return "object"
    return "array" if node.keys() & {"items", "prefixItems"} else "string"


def _bounds(node: Schema, step: float) -> tuple[float, float]:
    """Return the least and the greatest number to draw, a hundred apart where one is open."""
    low = max(
        node.get("minimum", -math.inf),
        node["exclusiveMinimum"] + step if "exclusiveMinimum" in node else -math.inf,
    )
    high = min(
        node.get("maximum", math.inf),
        node["exclusiveMaximum"] - step if "exclusiveMaximum" in node else math.inf,
    )
    wide = 100 * max(step, 1)
    if low == -math.inf:
        low = min(0, high - wide)
    return low, low + wide if high == math.inf else high


def _is_within(number: float, node: Schema) -> bool:
    least, most = node.get("minimum", -math.inf), node.get("maximum", math.inf)
    above, below = node.get("exclusiveMinimum", -math.inf), node.get("exclusiveMaximum", math.inf)
    return bool(least <= number <= most and above < number < below)


def _cut(text: str, least: int, most: int) -> str:
    return text[:most].rstrip().ljust(least, "x")


def _moment(chance: Random) -> datetime:
    return _START + timedelta(seconds=chance.randrange(0, 366 * 24 * 3600))


def _host(chance: Random) -> str:
    return f"{chance.choice(_WORDS)}.example"


def _bytes(chance: Random) -> str:
    return urlsafe_b64encode(chance.choice(_WORDS).encode()).decode()


_FORMATS: Mapping[str, Callable[[Random], str]] = {
    "base64url": _bytes,
    "binary": lambda chance: chance.choice(_WORDS),
    "date": lambda chance: _moment(chance).date().isoformat(),
    "date-time": lambda chance: _moment(chance).isoformat().replace("+00:00", "Z"),
    "duration": lambda chance: f"PT{chance.randint(1, 600)}M",
    "email": lambda chance: f"{chance.choice(_WORDS)}@{_host(chance)}",
    "hostname": _host,
    "idn-email": lambda chance: f"{chance.choice(_WORDS)}@{_host(chance)}",
    "ipv4": lambda chance: f"192.0.2.{chance.randint(1, 254)}",
    "ipv4interface": lambda chance: f"192.0.2.{chance.randint(1, 254)}/24",
    "ipv4network": lambda chance: f"10.{chance.randint(0, 255)}.0.0/16",
    "ipv6": lambda chance: f"2001:db8::{chance.randint(1, 9999)}",
    "ipv6interface": lambda chance: f"2001:db8::{chance.randint(1, 9999)}/64",
    "ipv6network": lambda chance: f"2001:db8:{chance.randint(1, 9999)}::/48",
    "json-string": lambda chance: json.dumps(chance.choice(_WORDS)),
    "multi-host-uri": lambda chance: f"https://{_host(chance)}/",
    "path": lambda chance: f"{chance.choice(_WORDS)}/{chance.choice(_WORDS)}.txt",
    "time": lambda chance: _moment(chance).time().isoformat(),
    "uri": lambda chance: f"https://{_host(chance)}/{chance.choice(_WORDS)}",
    "uuid": lambda chance: str(UUID(int=chance.getrandbits(128), version=4)),
    "uuid1": lambda chance: str(UUID(int=chance.getrandbits(128), version=1)),
    "uuid3": lambda chance: str(UUID(int=chance.getrandbits(128), version=3)),
    "uuid4": lambda chance: str(UUID(int=chance.getrandbits(128), version=4)),
    "uuid5": lambda chance: str(UUID(int=chance.getrandbits(128), version=5)),
}
