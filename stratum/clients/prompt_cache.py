"""Mark what of a prompt a provider should remember, where it wants to be told.

Claude models remember the beginning of a prompt only if a request marks it, for five minutes
after its last use, and only from a minimum of 512 to 4,096 tokens on, by model. Writing it costs
a quarter more than reading it plainly, a later read a tenth
(https://platform.claude.com/docs/en/build-with-claude/prompt-caching; the minimum of a model is
`prompt_cache_min_tokens` in litellm's table). So a marker pays from the second request on that
begins alike, and loses a quarter when there is none. OpenAI, Gemini and others remember by
themselves: they are sent nothing.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from stratum.hashing import digest
from stratum.settings import Price

PromptCache = Literal["auto", "always", "never"]

REMEMBERED = 300.0  # seconds for which a provider keeps what was marked
MOST_MINIMUM = 4096  # tokens: the largest documented minimum, where the table has none
WRITING = 1.25  # of the input price
KEPT = 1000  # beginnings that are watched at once


class Watch:
    """Which beginnings of prompts were sent lately; the second one alike is marked."""

    def __init__(self, when: PromptCache) -> None:
        self._when = when
        self._sent: dict[str, float] = {}
        self._lock = threading.Lock()

    def pays(self, model: str, beginning: str) -> bool:
        """Note a request, and say whether to mark its beginning."""
        if self._when != "auto":
            return self._when == "always"
        now, mark = time.monotonic(), digest([model, beginning])
        with self._lock:
            before = self._sent.pop(mark, None)
            self._sent[mark] = now
            while len(self._sent) > KEPT:
                del self._sent[next(iter(self._sent))]
        return before is not None and now - before < REMEMBERED

    @property
    def is_off(self) -> bool:
        return self._when == "never"


def minimum(model: str, entry: Mapping[str, Any]) -> int | None:
    """Return from how many tokens on a marker counts; None for models that want none."""
    if "claude" not in model.lower() or not entry.get("supports_prompt_caching"):
        return None
    return int(entry.get("prompt_cache_min_tokens") or MOST_MINIMUM)


def marked(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with the system message marked.

    >>> marked([{"role": "system", "content": "Be brief"}])[0]["content"][0]["cache_control"]
    {'type': 'ephemeral'}
    """
    system, *rest = messages
    part = {"type": "text", "text": system["content"], "cache_control": {"type": "ephemeral"}}
    return [{**system, "content": [part]}, *rest]


class Cached(NamedTuple):
    """How many of the input tokens were written to, and read from, the provider's memory."""

    written: int = 0
    read: int = 0

    @classmethod
    def of(cls, usage: Any) -> "Cached":
        details = getattr(usage, "prompt_tokens_details", None)
        written = _count(usage, "cache_creation_input_tokens")
        read = _count(usage, "cache_read_input_tokens") or _count(details, "cached_tokens")
        return cls(written or _count(details, "cache_creation_tokens"), read)

    def dearer(self, price: Price, entry: Mapping[str, Any]) -> float:
        """Return what they cost more, in dollars per million tokens times tokens; below 0 less."""
        write = _per_million(entry, "cache_creation_input_token_cost", price.input * WRITING)
        read = _per_million(entry, "cache_read_input_token_cost", price.input)
        return self.written * (write - price.input) + self.read * (read - price.input)


def _count(source: Any, name: str) -> int:
    found = getattr(source, name, None)
    return found if type(found) is int and found > 0 else 0


def _per_million(entry: Mapping[str, Any], name: str, default: float) -> float:
    found = entry.get(name)
    return found * 1_000_000 if isinstance(found, (int, float)) and found else default
