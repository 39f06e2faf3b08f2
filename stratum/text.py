"""Make untrusted or long text fit for people to read."""

import re
from collections.abc import Iterable, Iterator, Sequence

# Patterns are compiled when they are first used, which most programs never do.
# C0, DEL and C1; bidi marks; line and paragraph separators; BOM; lone surrogates
_HARMFUL = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
# GitHub's runner reads `::` after white space at the start of a line, and `##[` anywhere.
_COMMAND = r"(?m)^(\s*):(?=:)|##\["
_WORTH_COUNTING = 100  # a shorter rest is not worth saying its length


def escape(text: str) -> str:
    r"""Return the text as one line that cannot steer a terminal.

    Control characters, bidi marks, line separators and lone surrogates become `\n`, `\r`, `\t`,
    `\xNN` or `\uNNNN`; everything else, backslashes included, stays as it is.

    >>> print(escape("red\x1b[31m\nnext"))
    red\x1b[31m\nnext
    """
    if text.isprintable():  # what we escape is never printable
        return text
    return re.sub(_HARMFUL, _escaped, text)


def escape_lines(text: str) -> str:
    r"""Return the text escaped like `escape`, with its newlines kept.

    >>> print(escape_lines("one\x07\ntwo"))
    one\x07
    two
    """
    return "\n".join(map(escape, text.split("\n")))


def disarm(text: str) -> str:
    r"""Return the text with nothing in it that a CI system takes for a command.

    >>> print(disarm("  ::error::x"), disarm("a ##[error]x"), disarm("test_a.py::test_b"))
      \x3a:error::x a ##\x5berror]x test_a.py::test_b
    """
    return re.sub(_COMMAND, _disarmed, text)


def truncate(text: str, limit: int, tail: str = "…") -> str:
    """Return the first `limit` characters, then the tail if anything was left out.

    From 100 left-out characters on, their number follows the tail.

    >>> truncate("abcdef", 4)
    'abcd…'
    >>> truncate("x" * 1_208, 4)
    'xxxx… (1,204 more characters)'
    """
    rest = len(text) - limit
    if rest <= 0:
        return text
    count = f" ({rest:,} more characters)" if rest >= _WORTH_COUNTING else ""
    return f"{text[:limit]}{tail}{count}"


def diff_lines(
    before: str | Sequence[str], after: str | Sequence[str], *, context: int = 2
) -> list[str]:
    r"""Return what changed, line by line, with `context` lines around each change.

    Lines begin with `"  "` (the same), `"- "` (only before) or `"+ "` (only after); `"  …"`
    stands between changes that are far apart. Equal texts give an empty list.

    >>> diff_lines("a\nb\nc", "a\nB\nc", context=1)
    ['  a', '- b', '+ B', '  c']
    """
    from difflib import SequenceMatcher  # only drift needs it

    old, new = _lines(before), _lines(after)
    shown: list[str] = []
    for hunk in SequenceMatcher(None, old, new).get_grouped_opcodes(context):
        shown += ["  …"] if shown else []
        for opcode in hunk:
            shown += _changed(opcode, old, new)
    return shown


def _disarmed(found: re.Match[str]) -> str:
    return r"##\x5b" if found[1] is None else rf"{found[1]}\x3a"


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character in "\n\r\t":
        return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _lines(text: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(text, str):
        return text
    return text.split("\n") if text else []


def _changed(
    opcode: tuple[str, int, int, int, int], old: Sequence[str], new: Sequence[str]
) -> Iterator[str]:
    tag, old_start, old_end, new_start, new_end = opcode
    if tag == "equal":
        yield from (f"  {line}" for line in old[old_start:old_end])
        return
    yield from (f"- {line}" for line in old[old_start:old_end])
    yield from (f"+ {line}" for line in new[new_start:new_end])


def meant(name: str, known: Iterable[str]) -> str:
    """Return a question after what was probably meant, nothing if there is no such name.

    >>> meant("confidense", ["label", "confidence"])
    ' (did you mean confidence?)'
    """
    from difflib import get_close_matches  # only mistakes need it

    close = get_close_matches(name, list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""
