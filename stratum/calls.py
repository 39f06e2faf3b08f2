"""The values a call is made of, and the seams around it."""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from stratum.contracts import Contract
from stratum.hashing import canonical, digest, digest_of
from stratum.prompts import Prompt
from stratum.values import dataclass

Origin = Literal["live", "recorded", "cached", "scripted", "agent"]
Outcome = Literal["answered", "refused", "cut", "timeout", "cancelled", "unsent", "expired"]
CacheScope = Literal["none", "session", "global"]
Wire = Literal["auto", "schema", "tool", "prompt"]

# Who asks, where and how patiently: parameters that cannot shape the answer, so not in the key.
UNKEYED = frozenset(
    {
        "api_base", "api_key", "api_version", "aws_access_key_id", "aws_bedrock_runtime_endpoint",
        "aws_external_id", "aws_profile_name", "aws_region_name", "aws_role_name",
        "aws_secret_access_key", "aws_session_name", "aws_session_token", "aws_sts_endpoint",
        "aws_web_identity_token", "azure_ad_token", "azure_ad_token_provider", "azure_password",
        "azure_username", "base_url", "client", "client_id", "client_secret", "cooldown_time",
        "default_headers", "extra_headers", "headers", "max_retries", "metadata", "num_retries",
        "organization", "project", "request_timeout", "retry_strategy", "ssl_verify", "store",
        "stream_timeout", "tenant_id", "timeout", "user", "vertex_credentials", "vertex_location",
        "vertex_project",
    }
)  # fmt: skip


class Place(NamedTuple):
    """Where in a run a call was made: fan-out indices from the root down, then its turn.

    An index below 0 stands for a task that the user started, and is written with `~`: -1 is
    the first task that made this call there, -2 the second.

    >>> str(Place((2, 0), 1)), str(Place((2, -1), 0))
    ('2.0#1', '2.~0#0')
    """

    indices: tuple[int, ...]
    turn: int

    def __str__(self) -> str:
        named = (str(i) if i >= 0 else f"~{-1 - i}" for i in self.indices)
        return f"{'.'.join(named)}#{self.turn}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read the text form; raises `ValueError` when it is none.

        >>> Place.parse("2.~0#1")
        Place(indices=(2, -1), turn=1)
        """
        indices, _, turn = text.partition("#")
        return cls(tuple(_index(i) for i in indices.split(".") if indices), int(turn))


def _index(text: str) -> int:
    return -1 - int(text[1:]) if text.startswith("~") else int(text)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a function is defined, and what it tells the model; for recordings and reports.

    >>> Site("/app/mail.py", "app.mail", "Mail.sort", line=9, intent="Sort the mail").name
    'sort'
    """

    file: str
    module: str
    function: str
    line: int
    intent: str
    context: str | None = None
    conditions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The function's own name, for people."""
        return self.function.rpartition(".")[2]

    def warn(self, text: str, category: type[Warning]) -> None:
        """Warn of the function, where it is defined."""
        module = sys.modules.get(self.module)
        told = {} if module is None else vars(module).setdefault("__warningregistry__", {})
        warnings.warn_explicit(text, category, self.file, self.line, self.module, told)


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt of a call, as it is asked.

    `prompt` and `params` are what is sent; `shown` and `settings` are the same with secrets
    replaced and what cannot shape the answer left out: the only form that is hashed or stored.
    `place` is None for calls that are answered from a cache. `cap` is what a budget lowered
    max_tokens to; `fallbacks` are asked when `model` fails, and are not in the key.

    >>> from stratum import ScriptedClient, infer, using
    >>> @infer(intent="Count the words", model="any/model")
    ... def count(text: str) -> int: ...
    >>> client = ScriptedClient([2])
    >>> with using(client=client):
    ...     count.run(text="two words")
    2
    >>> request = client.requests[0]
    >>> request.prompt.text, request.attempt, str(request.place)
    ('text: two words', 0, '#0')
    """

    contract: Contract
    prompt: Prompt
    shown: Prompt
    model: str
    params: Mapping[str, Any]
    wire: Wire
    site: Site
    digest_inputs: Callable[[], str] = field(compare=False, repr=False)
    prompt_hash: str
    key: str
    attempt: int = 0
    place: Place | None = None
    ambiguous: bool = False
    cap: int | None = None
    cache: CacheScope = "none"
    settings: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()

    @property
    def inputs(self) -> str:
        """The digest of the bound inputs, secrets replaced; only recording and drift need it."""
        return self.digest_inputs()

    @property
    def order(self) -> Place:
        """Its place among the calls of a fan-out; the first one for a call without a place."""
        return self.place or Place((), 0)

    @property
    def instructions(self) -> Any:
        """What of the function's wording and settings a recording refers to."""
        return instructions(self.site, self.model, self.settings, self.wire)


def instructions(site: Site, model: str | None, params: Mapping[str, Any], wire: Wire) -> Any:
    """Return a function's wording and settings as a recording holds them."""
    return {
        "intent": site.intent,
        "context": site.context,
        "conditions": list(site.conditions),
        "model": model,
        "params": keyed(params),
        "wire": wire,
    }


def keyed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are part of the key, by name."""
    return {name: params[name] for name in sorted(params) if name not in UNKEYED}


def call_key(contract: str, prompt: str, model: str, params: Mapping[str, Any], wire: str) -> str:
    """Return the key of a call: the digest of all that can shape its answer."""
    return digest([contract, prompt, model, keyed(params), wire])


def keys_of(
    contract: str, model: str, params: Mapping[str, Any], wire: str
) -> Callable[[str], str]:
    """Return `call_key` for calls that differ in the digest of their prompts only.

    >>> keys_of("c", "m", {"seed": 1}, "auto")("p") == call_key("c", "p", "m", {"seed": 1}, "auto")
    True
    """
    before = canonical([contract])[:-1]
    after = canonical([model, keyed(params), wire])[1:]
    return lambda prompt: digest_of(f'{before},"{prompt}",{after}')


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a call took.

    >>> Usage(input=120, output=15)
    Usage(input=120, output=15)
    """

    input: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True)
class Quote:
    """What a request may cost: its input tokens, and US dollars per million tokens.

    A price of None is unknown, which is not the same as 0. `free` says that nothing will be
    sent, as for an answer that is remembered.

    >>> Quote(input_tokens=100, input_price=0.15).priced
    False
    """

    input_tokens: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    free: bool = False

    @property
    def priced(self) -> bool:
        return self.input_price is not None and self.output_price is not None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: JSON data (text when it is no JSON), or why there is none.

    `cost` is in US dollars, None when unknown; `wire` notes how it was asked for.

    >>> Reply({"label": "spam"}, Usage(120, 15), model="any/model").outcome
    'answered'
    """

    data: Any = None
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    origin: Origin = "live"
    outcome: Outcome = "answered"
    cost: float | None = None
    wire: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what became of it: what stores hold.

    `expired` counts the ledgers up from the call to the one whose time ran out, and `ms`
    is its limit.

    >>> from stratum import ScriptedClient, infer, using
    >>> @infer(intent="Say whether the text is friendly", model="any/model")
    ... def friendly(text: str) -> bool: ...
    >>> client = ScriptedClient([True])
    >>> with using(client=client):
    ...     kind = friendly.run(text="Hello!")
    >>> Exchange(client.requests[0], Reply(kind), "answered").outcome
    'answered'
    """

    request: Request
    reply: Reply | None
    outcome: Outcome
    quote: Quote | None = None
    cap: int | None = None
    expired: int | None = None
    ms: float | None = None


class Client(Protocol):
    """Whoever answers. New behaviour around a call is a client that wraps a client.

    A client may also have `settled(requests, ok)`, called once at the end of a call that
    was not cancelled, `live = False` when it costs nothing and is never recorded, and
    `waits = False` when it answers without waiting for anything: `.run()` is faster then.

    >>> from stratum import infer, using
    >>> class Polite:
    ...     live = False
    ...
    ...     async def complete(self, request: Request) -> Reply:
    ...         return Reply("please" in request.prompt.text)
    ...
    ...     async def quote(self, request: Request) -> Quote:
    ...         return Quote(0, 0.0, 0.0)
    >>> @infer(intent="Say whether the text is polite", model="any/model")
    ... def polite(text: str) -> bool: ...
    >>> with using(client=Polite()):
    ...     polite.run(text="More, please")
    True
    """

    async def complete(self, request: Request) -> Reply:
        """Answer; raises `ProviderError`, `ConfigurationError` or `RecordingError`."""
        ...

    async def quote(self, request: Request) -> Quote:
        """Say what the request may cost, as far as it is known."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A client that wants to know how a call ended."""

    def settled(self, requests: Sequence[Request], ok: bool) -> None: ...


@runtime_checkable
class Unsending(Protocol):
    """A client that wants to know of a request that was cancelled before it was sent."""

    def unfinished(self, request: Request) -> None: ...


class Clock(Protocol):
    """Time, ids and randomness.

    `is_fixed` says whether all three are the same on every run, as under record and replay.
    """

    is_fixed: bool

    def now(self) -> datetime: ...

    def new_id(self) -> str: ...

    def random(self) -> float: ...
