"""The low level of golden files: JSON text on disk, under names that any file system takes."""

import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from stratum.errors import RecordingCorrupt, RecordingError
from stratum.hashing import digest

MAX_BYTES = 64 * 2**20
MAX_LEVELS = 64
MAX_NAME = 120  # bytes; leaves room for an extension below every file system's 255

# Patterns are compiled when they are first used; a replay needs few of them.
_CONFLICT = r"(?m)^(?:<{7} |\|{7} |={7}\r?$|>{7} )"
_TOKEN = r'"[^"\\]*(?:\\.[^"\\]*)*"|[][{}:]|-?Infinity|NaN|-?\d[\d.eE+-]*'

_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))

# What json leaves raw, but no reviewer sees: C1 controls, bidi marks, separators, BOM, tags.
INVISIBLE = (
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
    "\U000e0000-\U000e01ef]"
)

_UNSAFE_IN_NAME = r"[^a-z0-9_.\-\[\]]"
_ESCAPED = r"\+(?P<upper>[a-z])|(?P<octets>(?:%[0-9a-f]{2})+)"
_TEMPORARY = r"\.[0-9a-f]{16}\.tmp"
_RESERVED = r"(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|$)"
_CUT = "~"  # in no name that is escaped whole


def read_json(path: Path) -> Any:
    """Return the JSON value of a file, or say where and why it has none.

    Raises `RecordingCorrupt` with the file, the line where it is known, and the remedy, for
    files over 64 MB or 64 levels, merge conflicts, duplicate keys, NaN, and what is no JSON.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.json").write_text('{"a": [1, null]}')
    ...     read_json(Path(folder, "a.json"))
    {'a': [1, None]}
    """
    text = read_text(path)
    try:
        return parse_json(text)
    except ValueError as error:
        raise RecordingCorrupt(_explain(path, text, error)) from None


def parse_json(text: str) -> Any:
    """Return the value of a JSON text that has no NaN, no key twice and at most 64 levels.

    Raises `ValueError` with the reason, `JSONDecodeError` where the syntax is wrong.

    >>> parse_json('{"a": [1, 2.5, null]}')
    {'a': [1, 2.5, None]}
    """
    if is_too_deep(text):
        raise ValueError(f"it is nested deeper than {MAX_LEVELS} levels")
    return _decode(text)


def is_too_deep(text: str) -> bool:
    """Return whether a JSON text has more than 64 levels, without parsing it.

    >>> is_too_deep("[" * 64 + "]" * 64), is_too_deep("[" * 65 + "]" * 65)
    (False, True)
    """
    brackets = _brackets(text)
    for _ in range(MAX_LEVELS):
        outer = brackets.replace(b"[]", b"")  # each round takes the innermost level away
        if len(outer) == len(brackets):
            break
        brackets = outer
    return b"[]" in brackets or brackets.count(b"[") > MAX_LEVELS


def dump_json(value: Any) -> str:
    """Return the text of a golden file: the same bytes for the same value, made for review.

    Indented, keys in the order given, non-ASCII text readable; controls, bidi marks and what
    else cannot be seen are escaped. Reads back equal with `read_json`, except that two lone
    surrogates that make a pair come back as the one character. Raises `RecordingError` for
    what could not be read back.

    >>> print(dump_json({"b": "é", "a": chr(0x202E)}), end="")
    {
     "b": "é",
     "a": "\\u202e"
    }
    """
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordingError(
            f"a value that is not JSON cannot be recorded ({error}); pass it through "
            "hashing.jsonable first"
        ) from error
    if is_too_deep(text):
        raise RecordingError(
            f"a value nested deeper than {MAX_LEVELS} levels cannot be recorded; flatten the "
            "contract that it answers"
        )
    return _visible(text)


def write_atomic(path: Path, text: str) -> bool:
    """Write the file whole or not at all; return whether it changed.

    Parent folders are made. Raises `RecordingError` when nothing could be written; then the
    old file is as it was.
    """
    content = text.encode()
    if len(content) > MAX_BYTES:
        raise RecordingError(_too_big(path))
    try:
        if _is_unchanged(path, content):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacement(path) as temporary:
            _write_through(temporary, content)
    except OSError as error:
        raise RecordingError(
            f"{_shown(path)} could not be written ({error.strerror or error}); the old file, if "
            "any, is untouched. Make the folder writable, free some space, and run again."
        ) from error
    return True


def remove_file(path: Path) -> bool:
    """Remove the file; return whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RecordingError(
            f"{_shown(path)} could not be removed ({error.strerror or error}); make the folder "
            "writable, and run again"
        ) from error
    return True


def temporaries(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that `write_atomic` has not finished."""
    return (path for path in folder.rglob(".*.tmp") if re.fullmatch(_TEMPORARY, path.name))


def refuse_links(path: Path, folder: Path) -> None:
    """Raise `RecordingCorrupt` when links on the way lead to a file that is not in the folder."""
    try:
        if path.resolve().is_relative_to(folder.resolve()):
            return
    except (OSError, RuntimeError):  # links in a circle
        pass
    raise RecordingCorrupt(
        f"{_shown(path)} leads out of {_shown(folder)} by a symbolic link; put the file itself "
        "there, or remove the link"
    )


def escape_name(name: str) -> str:
    """Return a file name for any text; two texts never share one, on any file system.

    Lower case, digits, `_`, `-`, `.`, `[` and `]` stay; an upper-case letter becomes `+` and the
    lower-case one, all else `%` and the hex digits of its UTF-8. A name that would take over 120
    bytes is cut and ends in `~` and 32 hex digits of its digest: that one cannot be unescaped.

    >>> escape_name("test_x[a/b]"), escape_name("Outer.<locals>.f"), escape_name("nul")
    ('test_x[a%2fb]', '+outer.%3clocals%3e.f', '%6eul')
    """
    escaped = re.sub(_UNSAFE_IN_NAME, lambda found: _escape(found[0]), name)
    if escaped.startswith(".") or re.match(_RESERVED, escaped):
        escaped = _octets(escaped[0]) + escaped[1:]
    if escaped.endswith("."):
        escaped = escaped[:-1] + _octets(".")
    if len(escaped) <= MAX_NAME:
        return escaped or "%"
    mark = _CUT + digest(name)[:32]
    return escaped[: MAX_NAME - len(mark)] + mark


def unescape_name(escaped: str) -> str:
    """Return the text that `escape_name` made a file name of.

    Raises `RecordingCorrupt` for a name that it did not make, or had to cut.

    >>> unescape_name("+outer.%3clocals%3e.f")
    'Outer.<locals>.f'
    """
    try:
        name = "" if escaped == "%" else re.sub(_ESCAPED, _unescape, escaped)
    except UnicodeDecodeError:
        name = None
    if name is None or escape_name(name) != escaped:
        raise RecordingCorrupt(
            f"the file name {_visible(escaped)} was cut or is not one of ours, so the test or "
            "function it stands for is unknown; record again, or remove the file"
        )
    return name


def read_text(path: Path, *, errors: str = "strict") -> str:
    """Return the text of a file; raises `RecordingCorrupt` where and why it has none.

    `errors` is what becomes of octets that are not UTF-8, as for `bytes.decode`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecordingCorrupt(
            f"{_shown(path)} cannot be read ({error.strerror or error}); restore it, or make it "
            "readable"
        ) from error
    if len(content) > MAX_BYTES:
        raise RecordingCorrupt(_too_big(path))
    try:
        return content.decode("utf-8-sig", errors)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecordingCorrupt(
            f"{_shown(path)}:{line} is not UTF-8; restore the file, or save it as UTF-8"
        ) from None


def _too_big(path: Path) -> str:
    return (
        f"{_shown(path)} is over {MAX_BYTES // 2**20} MB; split the module it records, or prune "
        "what is outdated"
    )


def _explain(path: Path, text: str, error: ValueError) -> str:
    """Name the place, the fault and the remedy; a merge conflict explains all else."""
    if conflict := re.search(_CONFLICT, text):
        return (
            f"{_at(path, text, conflict.start())} has the merge-conflict marker "
            f"{conflict[0].strip()}; keep one side (git checkout --ours or --theirs "
            f"{_shown(path)}), then record what is missing with pytest --stratum-record; or join "
            "both sides by key and place with stratum merge BASE OURS THEIRS, which git can do "
            "on its own"
        )
    if isinstance(error, json.JSONDecodeError):
        place = f"{_at(path, text, error.pos)}:{error.colno}"
        return f"{place} is not JSON: {error.msg}; correct or restore the file"
    place = _shown(path) if (at := _find(text, error)) is None else _at(path, text, at)
    return f"{place} cannot be used: {error}; correct the file, or restore and record again"


def _at(path: Path, text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"{_shown(path)}:{line}"


class _Fault(ValueError):
    """A token that JSON allows, or Python's parser does, and we do not."""

    def __init__(self, reason: str, token: str) -> None:
        self.token = token
        super().__init__(reason)


class _Duplicate(ValueError):
    """A key that an object has twice."""


def _find(text: str, error: ValueError) -> int | None:
    if isinstance(error, _Duplicate):
        return _find_duplicate(text)
    if isinstance(error, _Fault):
        same = (found.start() for found in re.finditer(_TOKEN, text) if found[0] == error.token)
        return next(same, None)  # broken JSON around it may hide it
    return None


def _find_duplicate(text: str) -> int | None:
    """Walk the tokens again: the parser's hook knows the key and not its place."""
    seen: list[set[str]] = []
    last = None
    for found in re.finditer(_TOKEN, text):
        match found[0]:
            case "{" | "[":
                seen.append(set())
            case "}" | "]":
                seen.pop()
            case ":" if last is not None:
                key = json.loads(last[0])
                if key in seen[-1]:
                    return last.start()
                seen[-1].add(key)
        last = found
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
    raise _Duplicate(f"the key {json.dumps(twice)[:80]} is there twice in one object")


def _refuse(token: str) -> NoReturn:
    raise _Fault(f"{token} is no JSON number", token)


def _finite(token: str) -> float:
    number = float(token)
    if math.isfinite(number):
        return number
    raise _Fault("a number is too large", token)


_decode = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
).decode


def _brackets(text: str) -> bytes:
    """Return the brackets of a JSON text that are outside its strings, all as `[` or `]`."""
    octets = text.encode(errors="replace").replace(b"\\\\", b"").replace(b'\\"', b"")
    left = octets.translate(_BRACKETS, _NO_BRACKETS).replace(b'""', b"")
    return b"".join(left.split(b'"')[::2])


def _visible(text: str) -> str:
    return re.sub(INVISIBLE, lambda found: json.dumps(found[0])[1:-1], text)


def _shown(path: Path) -> str:
    return _visible(path.as_posix())


def _is_unchanged(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False


@contextmanager
def _replacement(path: Path) -> Iterator[Path]:
    """Lend a new file beside `path` that takes its place if the block succeeds."""
    temporary = path.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        yield temporary
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _escape(character: str) -> str:
    if character.isascii() and character.isupper():
        return "+" + character.lower()
    return _octets(character)


def _octets(character: str) -> str:
    return "".join(f"%{octet:02x}" for octet in character.encode(errors="surrogatepass"))


def _unescape(found: re.Match[str]) -> str:
    if found["upper"]:
        return found["upper"].upper()
    return bytes.fromhex(found["octets"].replace("%", "")).decode(errors="surrogatepass")


def ignored(folder: Path) -> Path:
    """Let git ignore a folder of ours that is not committed; returns it."""
    mark = folder / ".gitignore"
    with suppress(OSError):  # whoever writes into the folder says what is wrong with it
        if not mark.exists():
            folder.mkdir(parents=True, exist_ok=True)
            mark.write_text("*\n", encoding="utf-8")
    return folder
