"""Ask a provider through litellm."""

import asyncio
import importlib
import os
import random
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from stratum.calls import Quote, Reply, Request, Usage
from stratum.clients.lowering import Lowered, lower_openai
from stratum.clients.messages import messages, parsed
from stratum.clients.prices import cost_of, price_of, quoted
from stratum.contracts import Contract
from stratum.errors import AuthenticationFailed, ConfigurationError, ProviderError
from stratum.scope import current, process, secrets
from stratum.settings import Price, Settings
from stratum.text import escape, truncate

TRIES = 4  # transport attempts of one request
FIRST_WAIT = 0.5  # seconds after the first one, doubled after each more
LONGEST_WAIT = 60.0
MARGIN = 16  # tokens that a provider adds around messages, beyond what can be counted

_TRANSIENT = ("RateLimitError", "InternalServerError", "ServiceUnavailableError", "BadGatewayError",
              "APIConnectionError")  # fmt: skip
_REJECTED = ("AuthenticationError", "PermissionDeniedError")
_UNFIT = ("NotFoundError", "BadRequestError", "UnsupportedParamsError", "UnprocessableEntityError")
_NO_KEY = re.compile(r"missing credentials|missing \w+ api.?key|api_key client option", re.I)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class LiteLLMClient:
    """The client for production: any model that litellm knows.

    `params` are added to every request without being part of its key (`api_base`,
    `timeout`, ...). Connection errors, 429 and 5xx are asked up to 4 times, honouring
    Retry-After; a timeout, which may have been billed, and authentication and
    configuration errors are raised at once.

    >>> LiteLLMClient(params={"timeout": 30})
    <LiteLLMClient>
    """

    def __init__(
        self, *, settings: Settings | None = None, params: Mapping[str, Any] | None = None
    ) -> None:
        self._prices: Mapping[str, Price] = settings.prices if settings else {}
        self._max_tokens = settings.max_tokens if settings else 4096
        self._params = dict(params or {})
        self._litellm: Any = None
        self._lowerings: dict[str, Lowered] = {}

    def __repr__(self) -> str:
        return "<LiteLLMClient>"

    async def complete(self, request: Request) -> Reply:
        if process.no_live_calls:
            raise ConfigurationError(f"{request.site.function}: {process.no_live_calls}")
        litellm = await self._load()
        arguments, wire = self._arguments(request, litellm)
        response = await self._send(litellm, request, arguments)
        return self._reply(request, response, wire)

    async def quote(self, request: Request) -> Quote:
        """Count the request's tokens (a tenth is added for safety) and look up its price."""
        litellm = await self._load()
        arguments, _ = self._arguments(request, litellm)
        counted = litellm.token_counter(
            model=request.model,
            messages=arguments["messages"],
            count_response_tokens=True,
        )
        schema = len(str(arguments.get("response_format", ""))) // 3
        price = price_of(request.model, self._prices, litellm.model_cost)
        return quoted(price, counted + counted // 10 + schema + MARGIN)

    async def _load(self) -> Any:
        """Import litellm in a thread; no budget's clock runs meanwhile."""
        if self._litellm is None:
            ledger = current().ledger
            if ledger is None:
                self._litellm = await asyncio.to_thread(_import_litellm)
            else:
                with ledger.paused():
                    self._litellm = await asyncio.to_thread(_import_litellm)
        return self._litellm

    def _arguments(self, request: Request, litellm: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the keyword arguments for litellm, and what is to be noted about the wire."""
        arguments: dict[str, Any] = {"max_tokens": self._max_tokens, **self._params}
        arguments |= {**request.params, "model": request.model, "max_retries": 0}
        if request.cap is not None:
            arguments["max_tokens"] = request.cap
        schema = request.contract.wire
        if not self._takes_schema(request, litellm):
            return arguments | {"messages": messages(request, schema=schema)}, {"wire": "prompt"}
        lowered = self._lowered(request.contract)
        arguments["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": lowered.schema, "strict": lowered.strict},
        }
        wire: dict[str, Any] = {"wire": "schema"}
        if lowered.notes:
            wire["lowering"] = [
                f"{note.path}: {note.verdict}: {note.text}" for note in lowered.notes
            ]
        return arguments | {"messages": messages(request)}, wire

    def _lowered(self, contract: Contract) -> Lowered:
        if contract.hash not in self._lowerings:
            self._lowerings[contract.hash] = lower_openai(contract.schema, name="answer")
        return self._lowerings[contract.hash]

    def _takes_schema(self, request: Request, litellm: Any) -> bool:
        if request.wire != "auto":
            return request.wire == "schema"
        if request.model.startswith("openai/") or "api_base" in self._params:
            return True
        return bool(litellm.supports_response_schema(model=request.model))

    async def _send(self, litellm: Any, request: Request, arguments: dict[str, Any]) -> Any:
        for attempt in range(1, TRIES + 1):
            try:
                return await litellm.acompletion(**arguments)
            except Exception as error:
                if attempt == TRIES or not _may_get_better(litellm, error):
                    raise _translated(litellm, request, error, attempt, arguments) from error
                await asyncio.sleep(_pause(error, attempt))
        raise AssertionError("unreachable")

    def _reply(self, request: Request, response: Any, wire: Mapping[str, Any]) -> Reply:
        if not response.choices:
            raise ProviderError(
                f"{request.site.function}: {request.model} gave a response without an answer.",
                billed=True,
            )
        choice, usage = response.choices[0], _usage(response)
        price = price_of(request.model, self._prices, self._litellm.model_cost)
        common: dict[str, Any] = {
            "usage": usage,
            "model": _spoken_model(response),
            "cost": cost_of(price, usage),
            "wire": wire,
        }
        refusal = _refusal(choice.message)
        if refusal or choice.finish_reason == "content_filter":
            return Reply(data=refusal or "content filter", outcome="refused", **common)
        text = choice.message.content or ""
        if choice.finish_reason == "length":
            return Reply(data=text, outcome="cut", **common)
        return Reply(data=parsed(text), **common)


def _import_litellm() -> Any:
    """Import litellm without what it does to the network and to stdout."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True
    return litellm


def _usage(response: Any) -> Usage:
    said = getattr(response, "usage", None)
    tokens = (getattr(said, name, None) or 0 for name in ("prompt_tokens", "completion_tokens"))
    return Usage(*tokens)


def _refusal(message: Any) -> str | None:
    own = getattr(message, "refusal", None)
    fields = getattr(message, "provider_specific_fields", None) or {}
    return own or fields.get("refusal")


def _spoken_model(response: Any) -> str:
    """Return the model that answered; a stand-in's fingerprint says what it is."""
    fingerprint = getattr(response, "system_fingerprint", None) or ""
    note = f" ({fingerprint})" if "stand-in" in fingerprint else ""
    return f"{response.model}{note}"


def _is(litellm: Any, error: Exception, names: tuple[str, ...]) -> bool:
    return any(isinstance(error, getattr(litellm, name, ())) for name in names)


def _may_get_better(litellm: Any, error: Exception) -> bool:
    return _is(litellm, error, _TRANSIENT) and not _lacks_key(error)


def _lacks_key(error: Exception) -> bool:
    """Say whether nothing was sent for want of a key; litellm calls that a server error."""
    return not _headers(error) and _NO_KEY.search(str(error)) is not None


def _headers(error: Exception) -> Mapping[str, str]:
    response = getattr(error, "response", None)
    found = getattr(error, "litellm_response_headers", None)
    return found or getattr(response, "headers", None) or {}


def _pause(error: Exception, attempt: int) -> float:
    """Return how many seconds to wait: what Retry-After says, else 0.5, 1, 2; with jitter."""
    asked = _retry_after(_headers(error).get("retry-after", ""))
    wait = FIRST_WAIT * 2 ** (attempt - 1) if asked is None else asked
    return min(wait, LONGEST_WAIT) * random.uniform(1.0, 1.25)


def _retry_after(text: str) -> float | None:
    """Read a number of seconds or an HTTP date (RFC 9110, 10.2.3); None for anything else."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (then - datetime.now(UTC)).total_seconds()) if then.tzinfo else None


def _translated(
    litellm: Any, request: Request, error: Exception, attempt: int, arguments: Mapping[str, Any]
) -> Exception:
    key = str(arguments.get("api_key") or "")
    text = str(error).replace(key, "<secret:api_key>") if key else str(error)
    said = truncate(escape(secrets().scrub(text)), 500)
    who = f"{request.site.function}: {request.model}"
    refused = getattr(error, "status_code", None) in (401, 403)
    if refused or _is(litellm, error, _REJECTED) or _lacks_key(error):
        return AuthenticationFailed(
            f"{who} was not allowed: {said}\n"
            "  Set the provider's key in the environment, or start `stratum local-model` and "
            "use its lines."
        )
    if _is(litellm, error, _UNFIT):
        return ConfigurationError(
            f"{who} does not take the request: {said}\n"
            "  Correct the model (provider/name), its parameters, or the address in api_base."
        )
    times = "once" if attempt == 1 else f"{attempt} times"
    billed = _is(litellm, error, ("Timeout",))
    return ProviderError(f"{who} failed {times}: {said}{_remedy(error, arguments)}", billed=billed)


def _remedy(error: Exception, arguments: Mapping[str, Any]) -> str:
    """Say what to do when nobody listens at the address."""
    if not any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error)):
        return ""
    base = _address(arguments)
    local = urlsplit(base).hostname in _LOOPBACK
    start = "start it with `stratum local-model`" if local else "start it"
    return f"\n  Is the server running at {base or 'its address'}? If not, {start}."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _address(arguments: Mapping[str, Any]) -> str:
    names = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
    given = (arguments.get("api_base"), arguments.get("base_url"), *map(os.environ.get, names))
    return next((str(address) for address in given if address), "")
