"""What the parts of a recording look like; a file or row with others was not written by us."""

from collections.abc import Callable, Mapping
from pathlib import PureWindowsPath
from typing import Any, get_args

from stratum.calls import Outcome
from stratum.values import dataclass

_MOST = 1e15  # a larger number is no count, no price and no time
_OUTCOMES = get_args(Outcome)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def is_amount(value: Any) -> bool:
    """Say whether it is a number of dollars, tokens or milliseconds."""
    return type(value) in (int, float) and 0 <= value < _MOST


def is_source(value: Any) -> bool:
    """Say whether it is a path below the root, by the rules of every system."""
    if not isinstance(value, str) or "\0" in value:
        return False
    path = PureWindowsPath(value)  # knows `/`, `\\` and drives
    return not path.anchor and ".." not in path.parts


def check_entry(entry: Any) -> None:
    """Raise `TypeError` for a call that was not written so, `KeyError` for one with less."""
    if not isinstance(entry, dict):
        raise TypeError("a call is an object")
    for name in ("key", "inputs", "contract", "instructions"):
        entry[name]
    _check(entry, _ENTRY)


def check_instructions(instructions: Any) -> None:
    """Raise `TypeError` for instructions that were not written so."""
    if not isinstance(instructions, dict):
        raise TypeError("instructions are an object")
    _check(instructions, _INSTRUCTIONS)


def check_contract(schema: Any) -> None:
    if not isinstance(schema, dict):
        raise TypeError("a contract is an object")


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a value is to be, in words."""

    words: str
    fits: Callable[[Any], bool]


def _check(data: Mapping[str, Any], shapes: Mapping[str, _Shape]) -> None:
    for name, value in data.items():
        shape = shapes.get(name)
        if shape is not None and not shape.fits(value):
            raise TypeError(f"{name} is {shape.words}")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_usage(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_count, value))


def _is_quote(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_AMOUNT.fits, value))


_TEXT = _Shape("a text", lambda value: isinstance(value, str))
_TEXT_OR_NULL = _Shape("a text or null", lambda value: value is None or isinstance(value, str))
_TEXTS = _Shape("a list of texts", _are_texts)
_COUNT = _Shape("a number from 0 on", is_count)
_AMOUNT = _Shape("an amount or null", lambda value: value is None or is_amount(value))
_OBJECT = _Shape("an object", lambda value: isinstance(value, dict))

_ENTRY: Mapping[str, _Shape] = {
    **dict.fromkeys(("key", "inputs", "contract", "instructions"), _TEXT),
    **dict.fromkeys(("answered_by", "recorded_on"), _TEXT),
    **dict.fromkeys(("places", "prompt", "retry", "revision"), _TEXTS),
    **dict.fromkeys(("attempt", "expired", "cap", "finished", "turn"), _COUNT),
    **dict.fromkeys(("cost", "ms"), _AMOUNT),
    "outcome": _Shape("a known outcome", lambda value: value in _OUTCOMES),
    "quote": _Shape("a list of three amounts", _is_quote),
    "tokens": _Shape("a list of two numbers", _is_usage),
    "wire": _OBJECT,
}
_INSTRUCTIONS: Mapping[str, _Shape] = {
    **dict.fromkeys(("intent", "wire"), _TEXT),
    **dict.fromkeys(("context", "model"), _TEXT_OR_NULL),
    "conditions": _TEXTS,
    "params": _OBJECT,
}
