"""Keep secrets out of everything that is hashed, stored or shown."""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST = 12  # characters; below that a value is too common to search for

_SECRET_NAME = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|AUTH)S?(_|\d|$)", re.IGNORECASE
)
_HARMLESS = re.compile(r"[/~.].*|[A-Za-z]:\\.*|[-+]?[\d.,_]+|[A-Z]?[a-z]+|[A-Z]+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Secret:
    """One value to hide: its public name, itself, and the forms it may travel in."""

    name: str
    value: str
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
        found = [_secret(name, value) for name, value in environ.items() if _hides(name, value)]
        found.sort(key=lambda secret: (-len(secret.value), secret.name))
        named = tuple((f"redact-{n}", re.compile(p)) for n, p in enumerate(patterns, 1))
        return cls(tuple(found), named)

    def redact(self, text: str) -> str:
        """Replace the plain values and what the patterns match."""
        for secret in self.known:
            if secret.value in text:
                text = text.replace(secret.value, secret.label)
        for name, pattern in self.patterns:
            text = pattern.sub(f"<secret:{name}>", text)
        return text

    def scrub(self, text: str) -> str:
        """Replace the encoded forms too; for what is only shown, never hashed."""
        text = self.redact(text)
        for secret in self.known:
            for form in secret.encoded:
                text = text.replace(form, secret.label)
        return text

    def redact_data(self, value: Any) -> Any:
        """Redact every string of JSON data, keys included."""
        return _each_string(value, self.redact) if self else value

    def scrub_data(self, value: Any) -> Any:
        """Scrub every string of JSON data, keys included."""
        return _each_string(value, self.scrub) if self else value

    def leaked(self, text: str) -> str | None:
        """Return the name of the first secret that the text holds in any form."""
        for secret in self.known:
            if secret.value in text or any(form in text for form in secret.encoded):
                return secret.name
        return None

    def __bool__(self) -> bool:
        return bool(self.known or self.patterns)


def _hides(name: str, value: str) -> bool:
    if len(value) < SHORTEST or _HARMLESS.fullmatch(value):
        return False
    return _SECRET_NAME.search(name) is not None


def _secret(name: str, value: str) -> Secret:
    raw = value.encode("utf-8", "surrogateescape")
    forms = {quote(value, safe=""), quote(value), quote_plus(value), *_base64_forms(raw)}
    forms.discard(value)
    return Secret(name, value, tuple(sorted(forms, key=len, reverse=True)))


def _base64_forms(raw: bytes) -> Iterable[str]:
    """Yield the part of the base64 text that holds `raw` at each of the three alignments."""
    for offset in range(3):
        padded = b"\0" * offset + raw
        first, last = -(-offset * 8 // 6), len(padded) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(padded).decode("ascii")[first:last]


def _each_string(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(k): _each_string(v, change) for k, v in value.items()}
    if isinstance(value, list):
        return [_each_string(v, change) for v in value]
    return value
