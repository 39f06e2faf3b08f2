"""Keep secrets out of everything that is hashed, stored or shown."""

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stratum.values import dataclass

SHORTEST = 12  # characters; below that a value is too common to search for

PIECE = 10  # characters at an end of a secret that give it away where a text was cut

# Compiled when they are first used: importing need not wait for it.
_SECRET_NAME = (
    r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|AUTH|COOKIE)S?(_|\d|$)"
    r"|(^|_)(PASS|PWD|PAT|JWT|DSN)(_|\d|$)"
)
_HARMLESS = (
    r"(?s)(~\w*|\.{0,2}|[A-Za-z]:)[/\\].*|[\w.~-]*(/[\w.~-]+)+\.\w{1,8}|\.[a-z._-]+"  # paths
    r"|https?://[^\s@?#]+"  # addresses without credentials
    r"|[-+]?[\d.,_]+|[A-Z]?[a-z]{1,30}|[A-Z]{1,30}"  # numbers and words
)
_BASE64 = r"/[A-Za-z0-9+/=]{19,}"
_MARKS = ("…", "...")  # what stands where a text was cut: ours, and pytest's


@dataclass(frozen=True, slots=True)
class Secret:
    """One value to hide: its public name, how it is spelt, and the codes it may travel in.

    `spellings` are the value itself, and what it looks like between quotes of JSON or Python.
    """

    name: str
    spellings: tuple[str, ...]
    encoded: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"<secret:{self.name}>"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must never be stored: known values, longest first, and patterns by name.

    >>> Secrets.of({"API_KEY": "sk-1234567890ab"}).redact("use sk-1234567890ab")
    'use <secret:API_KEY>'
    """

    known: tuple[Secret, ...] = ()
    patterns: tuple[tuple[str, re.Pattern[str]], ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], patterns: Iterable[str] = ()) -> "Secrets":
        """Collect secret-named variables with a secret-looking value, and the user's patterns."""
        stripped = {name: value.strip() for name, value in environ.items()}
        found = [_secret(name, value) for name, value in stripped.items() if _hides(name, value)]
        found.sort(key=lambda secret: (-len(secret.spellings[-1]), secret.name))
        named = tuple((f"redact-{n}", re.compile(p)) for n, p in enumerate(patterns, 1))
        return cls(tuple(found), named)

    def redact(self, text: str) -> str:
        """Replace the plain values and what the patterns match."""
        for secret in self.known if len(text) >= SHORTEST else ():
            for spelling in secret.spellings:
                if spelling in text:
                    text = text.replace(spelling, secret.label)
        for name, pattern in self.patterns:
            text = pattern.sub(f"<secret:{name}>", text)
        return text

    def scrub(self, text: str) -> str:
        """Replace the encoded forms and cut-off pieces too; for what is only shown."""
        text = self.redact(text)
        cut = any(mark in text for mark in _MARKS)
        for secret in self.known if cut or len(text) >= SHORTEST else ():
            for form in secret.encoded:
                if form in text:
                    text = text.replace(form, secret.label)
            if cut:
                text = _without_pieces(text, secret)
        return text

    def redact_data(self, value: Any) -> Any:
        """Redact every string of JSON data, keys included."""
        return _each_string(value, self.redact) if self else value

    def scrub_data(self, value: Any) -> Any:
        """Scrub every string of JSON data, keys included."""
        return _each_string(value, self.scrub) if self else value

    def leaked(self, value: Any) -> str | None:
        """Return the name of the first secret that JSON data holds, plain or encoded."""
        if not self.known:
            return None
        return next(filter(None, map(self._leaked, _strings(value))), None)

    def _leaked(self, text: str) -> str | None:
        joined = "".join(text.split())  # base64 is often broken into lines
        for secret in self.known:
            if any(form in text for form in secret.spellings):
                return secret.name
            if any(form in text or form in joined for form in secret.encoded):
                return secret.name
        return None

    def __bool__(self) -> bool:
        return bool(self.known or self.patterns)


def is_secret_name(name: str) -> bool:
    """Say whether an environment variable of this name may hold a secret."""
    return re.search(_SECRET_NAME, name) is not None


def _hides(name: str, value: str) -> bool:
    if len(value) < SHORTEST or not is_secret_name(name):
        return False
    return re.fullmatch(_HARMLESS, value) is None or _is_random(value)


def _is_random(value: str) -> bool:
    """Say whether what begins like a path is rather base64 that begins with a slash."""
    if re.fullmatch(_BASE64, value) is None:
        return False
    longest = max(value.split("/"), key=len)
    kinds = (str.isupper, str.islower, str.isdigit)
    return len(longest) >= 16 and all(any(map(kind, longest)) for kind in kinds)


def _secret(name: str, value: str) -> Secret:
    from urllib.parse import quote, quote_plus

    raw = value.encode("utf-8", "surrogateescape")
    urls = [quote(raw, safe=""), quote(raw), quote_plus(raw)]
    lower = [re.sub("%..", lambda code: code[0].lower(), url) for url in urls]
    spellings = {value, repr(value)[1:-1], *_json_forms(value)}
    encoded = {*urls, *lower, *_base64_forms(raw)} - spellings
    return Secret(name, _longest_first(spellings), _longest_first(encoded))


def _longest_first(forms: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _json_forms(value: str) -> Iterator[str]:
    """Yield what a value looks like between the quotes of JSON, also where tags are escaped."""
    from json import dumps

    for ascii_only in (True, False):
        form = dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield form
        yield form.replace("<", "\\u003c").replace(">", "\\u003e")


def _base64_forms(raw: bytes) -> Iterable[str]:
    """Yield the part of the base64 text that holds `raw` at each of the three alignments."""
    for offset in range(3):
        padded = b"\0" * offset + raw
        first, last = -(-offset * 8 // 6), len(padded) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(padded).decode("ascii")[first:last]


def _without_pieces(text: str, secret: Secret) -> str:
    """Replace the beginning of a secret before, and its end after, a place where text was cut."""
    for form in (*secret.spellings, *secret.encoded):
        if form[:PIECE] not in text and form[-PIECE:] not in text:
            continue
        for size in range(len(form) - 1, PIECE - 1, -1):
            for mark in _MARKS:
                text = text.replace(f"{form[:size]}{mark}", f"{secret.label}{mark}")
                text = text.replace(f"{mark}{form[-size:]}", f"{mark}{secret.label}")
    return text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _each_string(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(k)): _each_string(v, change) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_each_string(v, change) for v in value]
    return value
