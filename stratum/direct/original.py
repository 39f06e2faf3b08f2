"""A client around the function that a direct call would have called."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any
from urllib.parse import urlsplit

from stratum.calls import Quote, Reply, Request, Usage
from stratum.clients.prices import cost_of, price_of, quoted
from stratum.direct.answers import is_cut, last_of, lasting, model_of, stream_data, usage_of
from stratum.direct.libraries import Name, class_of, dumped
from stratum.errors import ConfigurationError
from stratum.scope import current, process, settings
from stratum.settings import Price

IMAGE = 2_000  # tokens that an image, a sound or a file is taken for
MARGIN = 16  # tokens that a provider adds around messages, beyond what can be counted

_TIMEOUTS = ("Timeout", "APITimeoutError")
_LIMITS = ("max_completion_tokens", "max_tokens")


class Original:
    """Calls the wrapped function with what it was given; `response` is what it gave back.

    `send` calls it, and reads a stream to its end if `collects`. Its errors are its own.
    """

    def __init__(
        self,
        library: Name,
        send: Callable[[Mapping[str, Any]], Awaitable[Any]],
        arguments: Mapping[str, Any],
        *,
        host: str,
        collects: bool,
    ) -> None:
        self.response: Any = None
        self._library: Name = library
        self._send = send
        self._arguments = arguments
        self._host = host
        self._collects = collects
        self._streams = bool(arguments.get("stream"))

    async def call(self) -> Any:
        """Call the function as if it were not wrapped."""
        if process.no_live_calls:
            raise ConfigurationError(f"a wrapped call: {process.no_live_calls}")
        return await self._send(self._arguments)

    async def complete(self, request: Request) -> Reply:
        if process.no_live_calls:
            raise ConfigurationError(f"{request.site.function}: {process.no_live_calls}")
        try:
            self.response = await self._send({**self._arguments, **self._limit(request)})
        except Exception as error:
            if type(error).__name__ in _TIMEOUTS:
                with suppress(AttributeError):
                    error.billed = True  # type: ignore[attr-defined]
            raise
        return self._reply(request)

    async def quote(self, request: Request) -> Quote:
        """Count the request's tokens (a tenth is added for safety) and look up its price."""
        litellm = await _litellm()
        counted = _counted(litellm, request, self._arguments)
        return quoted(self._price(request.model, litellm), counted + counted // 10 + MARGIN)

    def _limit(self, request: Request) -> dict[str, int]:
        """Return the limit on output tokens that a budget needs; none without one."""
        ledger = current().ledger
        if ledger is None or not ledger.needs_quote:
            return {}
        declared = next((n for n in _LIMITS if self._arguments.get(n) is not None), None)
        if declared is not None and request.cap is None:
            return {}
        most = int(request.params["max_tokens"]) if request.cap is None else request.cap
        newer = "max_completion_tokens" if self._host == "api.openai.com" else "max_tokens"
        return {declared or newer: max(1, most // choices_in(self._arguments))}

    def _reply(self, request: Request) -> Reply:
        data = self._data(request)
        last = last_of(data)
        usage = usage_of(last)
        price = self._price(request.model, sys.modules.get("litellm"))
        return Reply(
            data=data,
            usage=usage,
            model=model_of(last),
            outcome="cut" if request.cap is not None and is_cut(data) else "answered",
            cost=None if usage == Usage() else cost_of(price, usage),
        )

    def _data(self, request: Request) -> dict[str, Any]:
        if self._streams and not self._collects:
            return {}
        response, expected = self.response, class_of(self._library, stream=self._streams)
        if isinstance(response, list) and all(isinstance(each, expected) for each in response):
            return stream_data([dumped(self._library, chunk) for chunk in response])
        if isinstance(response, expected):
            return lasting(dumped(self._library, response))
        if not self._collects:
            return {}
        raise ConfigurationError(
            f"{request.site.function}: the call gave {type(response).__qualname__}, and only "
            f"{expected.__name__} can be recorded.\n"
            "  Call it without raw responses, or write it as an @infer function."
        )

    def _price(self, model: str, litellm: Any) -> Price | None:
        table = getattr(litellm, "model_cost", {})
        names = (model, f"openai/{model}") if self._library == "openai" else (model,)
        prices = (price_of(name, settings().prices, table) for name in names)
        return next((price for price in prices if price is not None), None)


def choices_in(arguments: Mapping[str, Any]) -> int:
    """Return how many answers a call asks for at once."""
    asked = arguments.get("n")
    return asked if isinstance(asked, int) and asked > 1 else 1


def output_limit(arguments: Mapping[str, Any]) -> int:
    """Return the most output tokens of a call, all its choices together."""
    declared = next((arguments[n] for n in _LIMITS if isinstance(arguments.get(n), int)), None)
    return (declared or settings().max_tokens) * choices_in(arguments)


def host_of(function: Any) -> str:
    """Return the host that an OpenAI client asks; litellm finds its own."""
    client = getattr(getattr(function, "__self__", None), "_client", None)
    return urlsplit(str(getattr(client, "base_url", ""))).hostname or ""


async def _litellm() -> Any:
    """Import litellm, for its prices and its tokenizer; no budget's clock runs meanwhile."""
    from stratum.clients.litellm import _import_litellm

    if "litellm" in sys.modules:
        return sys.modules["litellm"]
    ledger = current().ledger
    with nullcontext() if ledger is None else ledger.time.paused():
        return await asyncio.to_thread(_import_litellm)


def _counted(litellm: Any, request: Request, arguments: Mapping[str, Any]) -> int:
    """Count tokens by a tokenizer that is on this machine, whatever the model."""
    prompt = request.prompt
    shaping = [arguments.get(name) for name in ("tools", "functions", "response_format")]
    text = "\n".join([prompt.system, prompt.text, *(str(each) for each in shaping if each)])
    files = prompt.text.count(", sha256 ")
    urls = prompt.text.count('"image_url"')
    around = 4 * (prompt.data.count('"role"') + 1)
    tokens = litellm.token_counter(model="", text=text) or len(text) // 3
    return int(tokens) + around + IMAGE * max(files, urls)
