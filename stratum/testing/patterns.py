"""Make a text that fits a regular expression."""

import math
import re
import string


def alternatives(rest: str, spare: int) -> tuple[str, str]:
    """Return a string for the first alternative of a pattern, and what follows it.

    Parts come as often as they must; `spare` times if they may. Lookaheads are not understood.
    """
    made, rest = _sequence(rest, spare)
    while rest.startswith("|"):
        _, rest = _sequence(rest[1:], spare)
    return made, rest


def _sequence(rest: str, spare: int) -> tuple[str, str]:
    made = ""
    while rest and rest[0] not in "|)":
        part, rest = _atom(rest, spare)
        times, rest = _times(rest, spare)
        made += part * times
    return made, rest


def _atom(rest: str, spare: int) -> tuple[str, str]:
    match rest[0]:
        case "(":
            made, after = alternatives(re.sub(r"^\((\?(:|P?<\w+>))?", "", rest), spare)
            return made, after[1:]
        case "[":
            end = rest.index("]", 2) + 1
            return _sign(rest[:end], spare), rest[end:]
        case "\\":
            return _escaped(rest[:2], spare), rest[2:]
        case "^" | "$":
            return "", rest[1:]
        case ".":
            return "a", rest[1:]
    return rest[0], rest[1:]


def _times(rest: str, spare: int) -> tuple[int, str]:
    found = re.match(r"(?:\{(\d+)(,?)(\d*)\}|([*+?]))[?+]?", rest)
    if found is None:
        return 1, rest
    low, comma, high, sign = found.groups()
    least = int(low) if low else int(sign == "+")
    most = 1 if sign == "?" else math.inf if sign else _most(least, comma, high)
    return int(min(max(least, spare), most)), rest[found.end() :]


def _most(least: int, comma: str, high: str) -> float:
    return least if not comma else int(high) if high else math.inf


def _escaped(escape: str, spare: int) -> str:
    if escape[1] in "AbZz":
        return ""
    return _sign(escape, spare)


def _sign(pattern: str, spare: int) -> str:
    """Return one of the characters that the one-character pattern takes, each `spare` its own."""
    signs = string.ascii_letters + string.digits + string.punctuation + " "
    taken = [sign for sign in signs if re.fullmatch(pattern, sign)]
    return taken[spare % len(taken)] if taken else ""
