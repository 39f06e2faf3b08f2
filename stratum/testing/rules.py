"""Fill a JSON schema from the words of a text, by rules."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from stratum.hashing import digest
from stratum.testing.chat import MODEL, NATURE, Choice, Json, cut, tokens
from stratum.testing.chat_reading import Reading, read, schema_of, shared, stem, words
from stratum.testing.patterns import alternatives

_EXACT = 2**53  # beyond it a float skips integers
_NUMBER = re.compile(r"(?<![\w.,-])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w-]|[.,]\d)")

# "positive" and "negative" are left out: instructions name them, feelings seldom do.
_POSITIVE = """
    amazing awesome beautiful best brilliant delighted easy excellent fantastic fast friendly glad
    good great happy helpful impressed like liked love loved loves nice perfect perfectly pleased
    recommend satisfied smooth superb thank thanks wonderful works
"""
_NEGATIVE = """
    angry annoyed annoying awful bad broke broken bug complaint crash crashed crashes crashing
    damaged defective difficult disappointed disappointing error fail failed fails fault faulty
    frustrated frustrating furious hate hated horrible late lost missing never poor problem refund
    rude slow terrible unacceptable unhappy unusable upset useless worse worst wrong
"""
_TONES = {
    **dict.fromkeys(_POSITIVE.split(), "positive"),
    **dict.fromkeys(_NEGATIVE.split(), "negative"),
}
_OPPOSITE = {"positive": "negative", "negative": "positive"}
_NEGATIONS = ("not", "no", "isn't", "wasn't", "don't", "doesn't", "didn't", "won't", "hardly")


@dataclass(frozen=True)
class Spot:
    """Where a value goes: the field, the index in an array, the references followed so far."""

    name: str = ""
    nth: int = 0
    seen: tuple[str, ...] = ("#",)

    def is_named(self, *names: str) -> bool:
        return not {stem(word) for word in words(self.name)}.isdisjoint(names)


def rules(body: Mapping[str, Any]) -> Choice:
    """Return what the rules answer to the body of a chat request.

    For an `answer` function that lets most requests through.

    >>> rules({"messages": [{"role": "user", "content": "Hello there"}]}).text
    "stratum-local-rules, a rule-based stand-in, not a language model, read: 'Hello there'."
    """
    schema = schema_of(body)
    reading = read(body, schema or {})
    matched = tuple(dict.fromkeys(_matches(schema or {}, reading)))
    reading = replace(reading, matched=matched)
    if schema is None:
        return _within(f"{MODEL}, a {NATURE}, read: '{reading.ending}'.", body)
    return _within(json.dumps(value(schema, Spot(), reading), ensure_ascii=False), body)


def _tone(words: list[str]) -> tuple[str, tuple[str, ...]]:
    """Return positive, negative or neutral, and the words that say so."""
    hits: dict[str, list[str]] = {"positive": [], "negative": []}
    for before, word in pairwise(("", *(word.lower().replace("’", "'") for word in words))):
        tone = _TONES.get(word)
        if tone is not None:
            hits[_OPPOSITE[tone] if before in _NEGATIONS else tone].append(word)
    if len(hits["positive"]) == len(hits["negative"]):
        return "neutral", ()
    tone = max(hits, key=lambda tone: len(hits[tone]))
    return tone, tuple(hits[tone])


def _pick(members: list[Any], reading: Reading) -> tuple[Any, tuple[str, ...]]:
    """Return the member that suits the user text best, and the words that say so."""
    tones = {stem(word): member for member in members for word in words(str(member))}
    if {"positive", "negative"} <= tones.keys():
        tone, matched = _tone(reading.words)
        if tone in tones:
            return tones[tone], matched
    return _closest(members, reading.words)


def _closest(members: list[Any], said: list[str]) -> tuple[Any, tuple[str, ...]]:
    def closeness(member: object) -> tuple[int, float]:
        common = len(shared(member, said))
        return common, common / max(len(words(str(member))), 1)

    best = max(members, key=closeness)
    return best, shared(best, said)


def _matches(node: object, reading: Reading) -> Iterator[str]:
    """Yield the words matched by the enums of a schema."""
    if isinstance(node, list):
        for child in node:
            yield from _matches(child, reading)
    elif isinstance(node, dict):
        if isinstance(node.get("enum"), list) and node["enum"]:
            yield from _pick(node["enum"], reading)[1]
        yield from _matches(list(node.values()), reading)


def value(node: Any, spot: Spot, reading: Reading) -> Any:
    node, spot = _resolved(node if isinstance(node, dict) else {}, spot, reading)
    if "const" in node:
        return node["const"]
    if node.get("enum"):
        return _member(node["enum"], spot, reading)
    for key in ("anyOf", "oneOf"):
        if key in node:
            rest = {k: v for k, v in node.items() if k != key}
            return value(_merged(rest, _branch(node[key], spot)), spot, reading)
    return _typed(_kind(node), node, spot, reading)


def _typed(kind: str, node: Json, spot: Spot, reading: Reading) -> Any:
    match kind:
        case "object":
            return _object(node, spot, reading)
        case "array":
            return _array(node, spot, reading)
        case "number" | "integer":
            return _number(node, spot, reading, whole=kind == "integer")
        case "boolean":
            return bool(shared(spot.name, reading.words))
        case "null":
            return None
    return _string(node, spot, reading)


def _kind(node: Json) -> str:
    kinds = node.get("type", "object" if "properties" in node else "array")
    if "type" not in node and not node.keys() & {"properties", "items", "prefixItems"}:
        return "string"
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return str(min(kinds, key=lambda kind: kind == "null"))


def _resolved(node: Json, spot: Spot, reading: Reading) -> tuple[Json, Spot]:
    """Follow the references; a value that must hold itself has no end, and gets none."""
    while "$ref" in node:
        ref = str(node["$ref"])
        if spot.seen.count(ref) > 2:
            return {"type": "null"}, spot
        rest = {k: v for k, v in node.items() if k != "$ref"}
        node, spot = _merged(_pointed(reading.schema, ref), rest), _following(spot, ref)
    for part in node.get("allOf", ()):
        merged, spot = _resolved(part, spot, reading)
        node = _merged(node, merged)
    return node, spot


def _following(spot: Spot, ref: str) -> Spot:
    return replace(spot, seen=(*spot.seen, ref))


def _pointed(schema: Json, ref: str) -> Json:
    node: Any = schema
    for step in ref.removeprefix("#").split("/")[1:]:
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        node = node[int(key)] if isinstance(node, list) else node.get(key, {})
    return node if isinstance(node, dict) else {}


def _merged(first: Json, second: Json) -> Json:
    made = {**first, **second}
    if "properties" in first and "properties" in second:
        made["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        made["required"] = [*first["required"], *second["required"]]
    return made


def _branch(branches: list[Json], spot: Spot) -> Json:
    """Return the first branch that ends and is not null, else one that ends."""
    return min(branches, key=lambda branch: (_loops(branch, spot), branch.get("type") == "null"))


def _loops(node: Any, spot: Spot) -> bool:
    if not isinstance(node, dict):
        return False
    branches: list[Any] = node.get("anyOf") or node.get("oneOf") or []
    return node.get("$ref") in spot.seen or (
        bool(branches) and all(_loops(branch, spot) for branch in branches)
    )


def _member(members: list[Any], spot: Spot, reading: Reading) -> Any:
    best, _ = _pick(members, reading)
    return [best, *(member for member in members if member != best)][spot.nth % len(members)]


def _object(node: Json, spot: Spot, reading: Reading) -> Json:
    fields = node.get("properties", {})
    kept = [
        name
        for name, child in fields.items()
        if name in node.get("required", ()) or not _loops(child, spot)
    ]
    if not fields:
        return _entries(node, spot, reading)
    return {name: value(fields[name], replace(spot, name=name, nth=0), reading) for name in kept}


def _entries(node: Json, spot: Spot, reading: Reading) -> Json:
    """Fill a mapping with `minProperties` entries, else with one."""
    patterns = node.get("patternProperties") or {"": node.get("additionalProperties", True)}
    pattern, child = next(iter(patterns.items()))
    usual = 0 if isinstance(child, bool) or _loops(child, spot) else 1
    names = {"type": "string", "pattern": pattern, **node.get("propertyNames", {})}
    spots = [replace(spot, nth=i) for i in range(max(node.get("minProperties", 0), usual))]
    if pattern or "propertyNames" in node:
        return {value(names, at, reading): value(child, at, reading) for at in spots}
    return {f"item_{at.nth + 1}": value(child, at, reading) for at in spots}


def _array(node: Json, spot: Spot, reading: Reading) -> list[Any]:
    heads, rest = node.get("prefixItems", []), node.get("items", {})
    usual = 0 if heads or rest is False or _loops(rest, spot) else 1
    least = max(node.get("minItems", 0), usual, len(heads))
    count = min(least, node.get("maxItems", least))
    schemas = [*heads, *[rest] * (count - len(heads))]
    return [value(s, replace(spot, nth=i), reading) for i, s in enumerate(schemas[:count])]


_SURE = ("confidence", "score", "probability")


def _number(node: Json, spot: Spot, reading: Reading, *, whole: bool) -> int | float:
    wanted = _sureness(node, reading) if spot.is_named(*_SURE) else _numbers(reading.text)
    tried = [*wanted, *_bounds(node), *(_low(node) + i for i in range(spot.nth + 1)), 0.0]
    fitting = list(dict.fromkeys(n for n in tried if _is_within(n, node, whole=whole)))
    number = fitting[min(spot.nth, len(fitting) - 1)] if fitting else 0.0
    return int(number) if number == int(number) else number


def _numbers(text: str) -> list[float]:
    numbers = (float(found.replace(",", "")) for found in _NUMBER.findall(text))
    return [number for number in numbers if abs(number) < _EXACT]


def _sureness(node: Json, reading: Reading) -> list[float]:
    sure = 0.95 if reading.retrying else 0.9 if reading.matched else 0.55
    low, high = _low(node), _high(node)
    high = high if math.isfinite(high) else 1.0
    value = low + sure * (high - low) if high > 1 else min(max(sure, low), high)
    value = round(value, 6)
    return [value, math.ceil(value), math.floor(value)]


def _low(node: Json) -> float:
    return float(node["minimum"] if "minimum" in node else node.get("exclusiveMinimum", 0))


def _high(node: Json) -> float:
    return float(node["maximum"] if "maximum" in node else node.get("exclusiveMaximum", math.inf))


def _bounds(node: Json) -> list[float]:
    """Return numbers at the edges of what a node takes, the least first."""
    low, high = _low(node), _high(node)
    step = float(node.get("multipleOf", 1))
    first, last = math.ceil(low / step) * step, high - step
    middle = (low + high) / 2 if math.isfinite(high) else low + step
    below = math.floor(high / step) * step if math.isfinite(high) else low
    return [low, first, first + step, middle, below, high, last]


def _is_within(number: float, node: Json, *, whole: bool) -> bool:
    step = node.get("multipleOf")
    return (
        node.get("minimum", -math.inf) <= number <= node.get("maximum", math.inf)
        and node.get("exclusiveMinimum", -math.inf) < number
        and number < node.get("exclusiveMaximum", math.inf)
        and (not whole or float(number).is_integer())
        and (not step or math.isclose(number / step, round(number / step), abs_tol=1e-9))
    )


_REASONS = (
    "comment",
    "explanation",
    "justification",
    "rationale",
    "reason",
    "reasoning",
    "summary",
    "why",
)
_FORMATS: Mapping[str, tuple[str, str]] = {
    "date-time": (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)",
        "2026-01-01T00:00:00Z",
    ),
    "time": (r"\b\d\d:\d\d:\d\dZ?\b", "00:00:00Z"),
    "duration": (r"\bPT\d+[HMS]\b", "PT1H"),
    "email": (r"[\w.+-]+@\w[\w-]*(?:\.\w[\w-]*)+", "someone@example.com"),
    "uri": (r"https?://[^\s<>\"']+", "https://example.com/"),
    "ipv4": (r"\b127\.0\.0\.1\b", "127.0.0.1"),
    "ipv6": (r"::1\b", "::1"),
    "hostname": (r"\blocalhost\b", "localhost"),
}


def _string(node: Json, spot: Spot, reading: Reading) -> str:
    plain = _sized(_plain(spot, reading), node)
    tried = [*_formatted(node.get("format", ""), spot, reading), *_strings(plain, node, reading)]
    fitting = list(dict.fromkeys(text for text in tried if _is_fit(text, node)))
    return fitting[min(spot.nth, len(fitting) - 1)] if fitting else plain


def _plain(spot: Spot, reading: Reading) -> str:
    if spot.is_named(*_REASONS):
        matched = ", ".join(repr(word) for word in reading.matched)
        return f"rule-based: matched {matched}" if matched else "rule-based: matched nothing"
    words = reading.ending or "rule-based"
    return f"{words} {spot.nth + 1}" if spot.nth else words


def _sized(text: str, node: Json) -> str:
    return text[: node.get("maxLength")].rstrip().ljust(node.get("minLength", 0), ".")


def _strings(plain: str, node: Json, reading: Reading) -> Iterator[str]:
    yield plain
    for token in reading.text.split():
        yield token.strip(".,;:!?()[]<>\"'")
    if "pattern" not in node:
        return
    for spare in range(min(node.get("minLength", 0), 200) + 4):
        with suppress(IndexError, ValueError, re.error):
            yield alternatives(node["pattern"], spare)[0]


def _is_fit(text: str, node: Json) -> bool:
    if not node.get("minLength", 0) <= len(text) <= node.get("maxLength", math.inf):
        return False
    try:
        return re.search(node.get("pattern", ""), text) is not None
    except re.error:  # a dialect that Python does not read
        return True


def _formatted(form: str, spot: Spot, reading: Reading) -> Iterator[str]:
    if form == "date":
        yield from _dates(reading.text)
    if form.startswith("uuid"):
        seed = digest([reading.text, spot.name, spot.nth])
        yield str(UUID(seed[:32], version=4))
    if form in _FORMATS:
        pattern, usual = _FORMATS[form]
        yield from re.findall(pattern, reading.text)
        yield usual


def _dates(text: str) -> Iterator[str]:
    for found in re.findall(r"\b\d{4}-\d\d-\d\d\b", text):
        with suppress(ValueError):
            yield date.fromisoformat(found).isoformat()
    yield "2026-01-01"


def _within(text: str, body: Mapping[str, Any]) -> Choice:
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Choice(text) if limit is None or tokens(text) <= limit else cut(text[: 4 * limit])
