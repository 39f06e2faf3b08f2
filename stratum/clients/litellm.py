"""Ask a provider through litellm."""

import asyncio
import importlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from stratum.calls import Quote, Reply, Request, Usage
from stratum.clients.connections import close_with_loop, end_task_elsewhere
from stratum.clients.limiter import Limiter
from stratum.clients.lowering import Lowered, form_of, lower, lower_tool
from stratum.clients.messages import answer_of, messages, tool_messages
from stratum.clients.prices import cost_of, price_of, quoted
from stratum.clients.prompt_cache import Cached, PromptCache, Watch, marked, minimum
from stratum.clients.provider_errors import address_of, bare, is_about_wire, words_of
from stratum.clients.transport import Failed, send
from stratum.clients.wires import LADDER, TOOL, Ladder, Refusal, Rung, refusal_of
from stratum.errors import ConfigurationError, ProviderError
from stratum.hashing import canonical
from stratum.scope import current, process
from stratum.settings import Price, Settings

MARGIN = 16  # tokens that a provider adds around messages, beyond what can be counted

_WITH_SCHEMA = ("openai/", "hosted_vllm/")  # where an unlisted model is taken to enforce schemas
_log = logging.getLogger("stratum")


class _Asked(NamedTuple):
    """How a request goes out on one wire, or why it cannot."""

    arguments: dict[str, Any]
    notes: list[str]
    misfit: str = ""


class LiteLLMClient:
    """The client for production: any model that litellm knows.

    `params` are added to every request without being part of its key (`api_base`,
    `timeout`, ...). Connection errors, 429 and 5xx are asked up to 4 times, honouring
    Retry-After, and a 429 holds back the other calls to the model; a timeout, which may have
    been billed, and authentication and configuration errors are raised at once.
    `prompt_cache` says when Claude models are told to remember the beginning of a prompt:
    from the second request on that begins alike ("auto"), "always" or "never".

    >>> LiteLLMClient(params={"timeout": 30})
    <LiteLLMClient>
    """

    def __init__(
        self,
        *,
        settings: Settings | None = None,
        params: Mapping[str, Any] | None = None,
        prompt_cache: PromptCache = "auto",
    ) -> None:
        if prompt_cache not in ("auto", "always", "never"):
            raise ConfigurationError(
                f'LiteLLMClient(prompt_cache={prompt_cache!r}); it takes one of "auto", "always", '
                '"never"'
            )
        self._prices: Mapping[str, Price] = settings.prices if settings else {}
        self._max_tokens = settings.max_tokens if settings else 4096
        self._params = dict(params or {})
        self._litellm: Any = None
        self._ladder = Ladder()
        self._limiters: dict[tuple[str, str], Limiter] = {}
        self._watch = Watch(prompt_cache)
        self._firsts: dict[str, Rung] = {}
        self._providers: dict[str, tuple[str, str]] = {}
        self._lowerings: dict[tuple[str, str, Rung], Lowered] = {}
        self._other_limit: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return "<LiteLLMClient>"

    async def complete(self, request: Request) -> Reply:
        if process.no_live_calls:
            raise ConfigurationError(f"{request.site.function}: {process.no_live_calls}")
        litellm = await self._load()
        await close_with_loop(litellm)
        end_task_elsewhere()
        who = self._who(request)
        met: list[Refusal] = []
        for rung in self._rungs(request, litellm):
            asked = self._asked(request, rung, litellm)
            if asked.misfit:
                met.append(self._misfit(request, rung, asked.misfit))
                continue
            arguments = self._marked(request, asked.arguments, litellm)
            try:
                response = await self._send(litellm, request, arguments)
            except Failed as failed:
                met.append(self._refusal(failed, request, rung, arguments))
                continue
            self._ladder.remember(met, who, request.contract.hash)
            known = {*self._ladder.refused(who, request.contract.hash), *met}
            return self._reply(request, response, _noted(rung, asked.notes, known))
        raise AssertionError("the last wire takes every contract")

    async def quote(self, request: Request) -> Quote:
        """Count the request's tokens (a tenth is added for safety) and look up its price.

        What is counted depends on the request alone, not on what models refused so far.
        """
        litellm = await self._load()
        first = self._first(request, litellm)
        asked = self._asked(request, first, litellm)
        counted = litellm.token_counter(
            model=request.model,
            messages=asked.arguments["messages"],
            count_response_tokens=True,
        )
        shape = asked.arguments.get("response_format", asked.arguments.get("tools", ""))
        schema = len(str(shape)) // 3
        writing = self._markable(request, asked.arguments, litellm) // 4
        price = price_of(request.model, self._prices, litellm.model_cost)
        return quoted(price, counted + counted // 10 + schema + writing + MARGIN)

    async def _load(self) -> Any:
        """Import litellm in a thread; no budget's clock runs meanwhile."""
        if self._litellm is None:
            ledger = current().ledger
            if ledger is None:
                self._litellm = await asyncio.to_thread(_import_litellm)
            else:
                with ledger.time.paused():
                    self._litellm = await asyncio.to_thread(_import_litellm)
        return self._litellm

    def _who(self, request: Request) -> tuple[str, str]:
        """Return the model and its address: what a refusal or a pause holds for."""
        return request.model, address_of({**self._params, **request.params})

    def _rungs(self, request: Request, litellm: Any) -> Iterator[Rung]:
        """Yield the wires to try, the best first; a declared one is the only one."""
        if request.wire != "auto":
            yield request.wire
            return
        first = self._first(request, litellm)
        for rung in self._ladder.rungs(first, self._who(request), request.contract.hash):
            if rung != "tool" or not self._has_tools(request):
                yield rung

    def _first(self, request: Request, litellm: Any) -> Rung:
        if request.wire != "auto":
            return request.wire
        if request.model not in self._firsts:
            self._firsts[request.model] = self._best(request.model, litellm)
        first = self._firsts[request.model]
        return "prompt" if first == "tool" and self._has_tools(request) else first

    def _best(self, model: str, litellm: Any) -> Rung:
        if model.startswith(_WITH_SCHEMA) or "api_base" in self._params:
            return "schema"
        if litellm.supports_response_schema(model=model):
            return "schema"
        return "tool" if self._takes_tools(model, litellm) else "prompt"

    def _takes_tools(self, model: str, litellm: Any) -> bool:
        """Say whether the model is known to take tools, or others are of a new one's provider."""
        if litellm.supports_function_calling(model=model):
            return True
        provider, _ = self._provider(model, litellm)
        siblings = (e for e in litellm.model_cost.values() if e.get("litellm_provider") == provider)
        unlisted = not self._listed(model, litellm)
        return unlisted and any(entry.get("supports_function_calling") for entry in siblings)

    def _has_tools(self, request: Request) -> bool:
        """Say whether the function declares tools of its own, so that none can be forced."""
        return "tools" in request.params or "tools" in self._params

    def _asked(self, request: Request, rung: Rung, litellm: Any) -> _Asked:
        arguments: dict[str, Any] = {"max_tokens": self._max_tokens, **self._params}
        arguments |= {**request.params, "model": request.model, "max_retries": 0}
        if request.cap is not None:
            arguments["max_tokens"] = request.cap
        if self._who(request) in self._other_limit:
            arguments["max_completion_tokens"] = arguments.pop("max_tokens")
        if rung == "prompt":
            asked = messages(request, schema=request.contract.wire)
            return _Asked(arguments | {"messages": asked}, [])
        lowered = self._lowered(request, rung, litellm)
        notes = [str(note) for note in lowered.notes]
        if rung == "tool":
            provider, _ = self._provider(request.model, litellm)
            forced = _forced(lowered, provider)
            arguments |= {"messages": tool_messages(request), **forced}
        else:
            arguments |= {"messages": messages(request), **_enforced(lowered)}
        return _Asked(arguments, notes, "" if lowered.fits else _why(lowered))

    def _lowered(self, request: Request, rung: Rung, litellm: Any) -> Lowered:
        contract = request.contract
        key = (request.model, contract.hash, rung)
        if key not in self._lowerings:
            form = form_of(*self._provider(request.model, litellm))
            lowering = lower_tool if rung == "tool" else lower
            self._lowerings[key] = lowering(contract.schema, form=form, name=TOOL)
        return self._lowerings[key]

    def _provider(self, model: str, litellm: Any) -> tuple[str, str]:
        """Return litellm's name of the provider, and the model's name there."""
        if model not in self._providers:
            try:
                name, provider, *_ = litellm.get_llm_provider(model=model)
            except Exception:  # sending will say what is wrong with it
                provider, _, name = model.rpartition("/")
            self._providers[model] = (provider, name)
        return self._providers[model]

    def _misfit(self, request: Request, rung: Rung, why: str) -> Refusal:
        if request.wire == "auto":
            return Refusal(rung, why, "contract")
        raise ConfigurationError(
            f"{request.site.function}: its contract cannot be sent to {request.model} with "
            f'wire="{rung}": {why}.\n  Write wire="auto" or wire="prompt", or change the contract.'
        )

    async def _send(self, litellm: Any, request: Request, arguments: dict[str, Any]) -> Any:
        who = self._who(request)
        limiter = self._limiters.get(who) or self._limiters.setdefault(who, Limiter())
        try:
            return await send(litellm, request, arguments, limiter)
        except Failed as failed:
            wants_other = "max_completion_tokens" in words_of(failed.error)
            if not wants_other or "max_tokens" not in arguments:
                raise
            if not is_about_wire(litellm, failed.error):
                raise
        renamed = {**arguments, "max_completion_tokens": arguments["max_tokens"]}
        del renamed["max_tokens"]
        response = await send(litellm, request, renamed, limiter)
        self._other_limit.add(who)
        return response

    def _refusal(
        self, failed: Failed, request: Request, rung: Rung, arguments: Mapping[str, Any]
    ) -> Refusal:
        """Return how the provider refused the wire; raises what else it said."""
        refusal = None
        if request.wire == "auto" and is_about_wire(self._litellm, failed.error):
            refusal = refusal_of(words_of(failed.error), rung)
        if refusal is None:
            raise failed.translated(self._litellm, request, arguments) from bare(failed.error)
        _log.info("%s refused wire %s (%s)", request.model, rung, refusal.named)
        return refusal

    def _marked(self, request: Request, arguments: dict[str, Any], litellm: Any) -> dict[str, Any]:
        """Mark the beginning of the prompt for the provider to remember, where that pays."""
        if not self._markable(request, arguments, litellm):
            return arguments
        sent = arguments["messages"]
        if not self._watch.pays(request.model, sent[0]["content"]):
            return arguments
        return arguments | {"messages": marked(sent)}

    def _markable(self, request: Request, arguments: Mapping[str, Any], litellm: Any) -> int:
        """Return how many tokens a marker would make the provider remember; 0 for none."""
        least = None
        if not self._watch.is_off:
            least = minimum(request.model, self._listed(request.model, litellm))
        beginning = arguments["messages"][0]["content"]
        if least is None or len(beginning.encode()) < least:
            return 0
        counted = int(litellm.token_counter(model=request.model, text=beginning))
        return counted if counted >= least else 0

    def _listed(self, model: str, litellm: Any) -> Mapping[str, Any]:
        """Return what litellm's table says of a model."""
        table: Mapping[str, Mapping[str, Any]] = litellm.model_cost
        return table.get(model) or table.get(model.partition("/")[2]) or {}

    def _reply(self, request: Request, response: Any, wire: Mapping[str, Any]) -> Reply:
        if not response.choices:
            raise ProviderError(
                f"{request.site.function}: {request.model} gave a response without an answer.",
                billed=True,
            )
        choice, usage = response.choices[0], _usage(response)
        common: dict[str, Any] = {
            "usage": usage,
            "model": _spoken_model(response),
            "cost": self._cost(request.model, response, usage),
            "wire": wire,
        }
        refusal = _refusal(choice.message)
        if refusal or choice.finish_reason == "content_filter":
            return Reply(data=refusal or "content filter", outcome="refused", **common)
        if choice.finish_reason == "length":
            return Reply(data=_text(choice.message), outcome="cut", **common)
        return Reply(data=answer_of(_text(choice.message), _arguments(choice.message)), **common)

    def _cost(self, model: str, response: Any, usage: Usage) -> float | None:
        price = price_of(model, self._prices, self._litellm.model_cost)
        if price is None:
            return None
        entry = {} if model in self._prices else self._listed(model, self._litellm)
        cached = Cached.of(getattr(response, "usage", None))
        return cost_of(price, usage, more=cached.dearer(price, entry))


def _import_litellm() -> Any:
    """Import litellm without what it does to the network and to stdout."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic has words for litellm's types, at first use
        litellm.ModelResponse()
    return litellm


def _enforced(lowered: Lowered) -> dict[str, Any]:
    schema = deepcopy(lowered.schema)  # litellm rewrites schemas where they stand
    spec = {"name": TOOL, "schema": schema, "strict": lowered.strict}
    return {"response_format": {"type": "json_schema", "json_schema": spec}}


def _forced(lowered: Lowered, provider: str) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": TOOL,
        "description": "Give the answer.",
        "parameters": deepcopy(lowered.schema),
    }
    if lowered.strict:
        function["strict"] = True
    choice: Any = {"type": "function", "function": {"name": TOOL}}
    if provider == "mistral":  # litellm drops a tool's name for Mistral, and forces nothing
        choice = "required"
    return {"tools": [{"type": "function", "function": function}], "tool_choice": choice}


def _why(lowered: Lowered) -> str:
    impossible = [note for note in lowered.notes if note.verdict == "impossible"]
    found = next(iter([*impossible, *lowered.notes]), None)
    return f"{found.path}: {found.text}" if found else "it has no form there"


def _noted(rung: Rung, notes: list[str], refused: "set[Refusal]") -> dict[str, Any]:
    """Return what an exchange says of its wire: the same for every call of a contract."""
    noted: dict[str, Any] = {"wire": rung}
    better = LADDER[: LADDER.index(rung)]
    above = sorted(str(refusal) for refusal in refused if refusal.rung in better)
    return noted | ({"refused": above} if above else {}) | ({"lowering": notes} if notes else {})


def _usage(response: Any) -> Usage:
    said = getattr(response, "usage", None)
    tokens = (getattr(said, name, None) or 0 for name in ("prompt_tokens", "completion_tokens"))
    return Usage(*tokens)


def _text(message: Any) -> str:
    return message.content or "".join(_arguments(message)[:1])


def _arguments(message: Any) -> list[str]:
    """Return the arguments of the tool calls in an answer, as JSON text."""
    calls = getattr(message, "tool_calls", None) or ()
    found = (call.function.arguments for call in calls)
    return [each if isinstance(each, str) else canonical(each) for each in found]


def _refusal(message: Any) -> str | None:
    own = getattr(message, "refusal", None)
    fields = getattr(message, "provider_specific_fields", None) or {}
    return own or fields.get("refusal")


def _spoken_model(response: Any) -> str:
    """Return the model that answered; a stand-in's fingerprint says what it is."""
    fingerprint = getattr(response, "system_fingerprint", None) or ""
    note = f" ({fingerprint})" if "stand-in" in fingerprint else ""
    return f"{response.model}{note}"
