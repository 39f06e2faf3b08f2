"""`wrap`: let existing calls of litellm or an OpenAI client be recorded, traced and budgeted."""

import inspect
import sys
import typing
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import partial, update_wrapper
from types import FrameType
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter

from stratum.attempts import Ask, Question, begin
from stratum.budget import Ledger
from stratum.calls import UNKEYED, Client, Site, Wire
from stratum.direct.answers import AsyncChunks, Chunks, answer, chunks
from stratum.direct.callers import Caller, caller, of
from stratum.direct.conversation import Conversation, neutral
from stratum.direct.desk import Desk, Unwaiting, is_in_a_loop
from stratum.direct.libraries import Name, contract_of, wrappable
from stratum.direct.original import Original, host_of, output_limit
from stratum.engine import Run, drive
from stratum.errors import InputError
from stratum.hashing import canonical, jsonable
from stratum.neutral import neutral_schema
from stratum.prompts import Template
from stratum.redact import Secrets
from stratum.roots import Branch, Inside
from stratum.scope import continued, process, surrounded
from stratum.steps import Inputs, Span

F = TypeVar("F", bound=Callable[..., Any])

_DIRECT = typing.cast(Wire, "direct")  # no word for users: these requests reach no other client
_ABSENT = ("NotGiven", "Omit")  # what the openai client takes for an argument that is not there
_ROUTES = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "model_list")


def wrap(function: F) -> F:
    """Return a call of litellm or an OpenAI client that is recorded, traced and budgeted.

    It takes `litellm.completion`, `litellm.acompletion`, and `client.chat.completions.create`
    of an `OpenAI` or `AsyncOpenAI` client. Without a mode it gives what the original gives and
    raises what that raises; `pytest --stratum-record` records it under its caller's name, and
    `--stratum-replay` answers with an equal object of the same class (SPEC 15). Wrapping twice
    is harmless. Raises `ConfigurationError` for anything else.

    >>> wrap(print)
    Traceback (most recent call last):
    stratum.errors.ConfigurationError: stratum.wrap was given <built-in function print>.
      It takes litellm.completion, litellm.acompletion, and client.chat.completions.create of an \
OpenAI or AsyncOpenAI client (not their with_raw_response, with_streaming_response and parse \
forms). Write other calls as @infer functions.
    """
    if isinstance(function, _Wrapped):
        return typing.cast(F, function)
    library, is_async = wrappable(function)
    kind = _Awaited if is_async else _Plain
    return typing.cast(F, kind(function, library, sys._getframe(1)))


class _Wrapped:
    """A function that goes on the recording path when it is called."""

    def __init__(self, function: Callable[..., Any], library: Name, frame: FrameType) -> None:
        self._function = function
        self._library: Name = library
        where = of(frame)
        self._otherwise = where._replace(function=function.__name__)
        update_wrapper(self, function)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"<stratum.wrap {self._function.__qualname__}>"

    def _call(self, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Call":
        found = caller(frame, self._otherwise)
        return _Call(self._function, self._library, found, _named(self._function, args, kwargs))


class _Plain(_Wrapped):
    """A wrapped function that is called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        frame = sys._getframe(1)
        if _is_ours(frame):
            return self._function(*args, **kwargs)
        call, desk = self._call(frame, args, kwargs), Desk()
        with surrounded(continued()):
            span = call.span()
        inside, ledger = span.inside, span.inside.ledger
        if is_in_a_loop():
            ledger = ledger and Unwaiting(ledger, call.caller.function)
            inside = replace(inside, branch=_impatient(inside.branch), ledger=ledger)

        async def send(arguments: Mapping[str, Any]) -> Any:
            return await desk.do(lambda: _read(self._function(**arguments), call.collects(span)))

        return desk.run(inside, partial(call.perform, span, send, inside.branch, ledger, Chunks))


def _impatient(branch: Branch) -> Branch:
    """Return a branch that waits for no turn: whoever has it may need the loop that is blocked."""
    branch = copy(branch)
    branch.turns = None
    return branch


def _read(response: Any, collects: bool) -> Any:
    return list(response) if collects and hasattr(response, "__next__") else response


class _Awaited(_Wrapped):
    """A wrapped function that is awaited."""

    def __init__(self, function: Callable[..., Any], library: Name, frame: FrameType) -> None:
        super().__init__(function, library, frame)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
        else:
            from asyncio import coroutines

            self._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        frame = sys._getframe(1)
        if _is_ours(frame):
            return self._function(*args, **kwargs)
        awaited = self._awaited(self._call(frame, args, kwargs))
        awaited.__qualname__ = self._function.__qualname__  # type: ignore[attr-defined]
        return awaited

    async def _awaited(self, call: "_Call") -> Any:
        span = call.span()

        async def send(arguments: Mapping[str, Any]) -> Any:
            response = await self._function(**arguments)
            if call.collects(span) and hasattr(response, "__anext__"):
                return [chunk async for chunk in response]
            return response

        return await call.perform(span, send, span.branch, span.inside.ledger, AsyncChunks)


class _Messages(Template):
    """Compiles messages into themselves."""

    __slots__ = ()

    def compile(self, values: Mapping[str, Any]) -> Conversation:
        return Conversation.of(values["messages"])


class _Call:
    """One call of a wrapped function."""

    def __init__(
        self, function: Callable[..., Any], library: Name, who: Caller, arguments: dict[str, Any]
    ) -> None:
        messages = arguments.get("messages")
        if messages is not None and not isinstance(messages, (list, tuple, str, Mapping)):
            arguments["messages"] = list(messages)  # read once, sent and recorded
        self.caller = who
        self.streams = bool(arguments.get("stream"))
        self._function = function
        self._library: Name = library
        self._arguments = arguments

    def span(self) -> Span:
        name = self.caller.function
        shown = {"messages": self._arguments.get("messages")}
        return Span("infer", name, shown, Inputs(name, inspect.Signature(), {}, frozenset(), {}))

    def collects(self, span: Span) -> bool:
        """Say whether a stream is read to its end at once: to be recorded."""
        return span.inside.root.wrap is not None

    async def perform(
        self,
        span: Span,
        send: Callable[[Mapping[str, Any]], Awaitable[Any]],
        branch: Branch,
        ledger: Ledger | None,
        stream: Callable[[list[Any]], Any],
    ) -> Any:
        """Ask as an `@infer` function does, and return what the original would."""
        run = Run()
        own = Original(
            self._library,
            send,
            self._arguments,
            host=host_of(self._function),
            collects=self.collects(span),
        )
        try:
            client = _client(span.inside, own)
            ask = self._readable(span, client is own and not _needs_quote(ledger))
            if ask is None:
                value = await own.call()
                span.succeed(None, Any)
                return value
            request = ask.request
            span.model, span.contract_hash = request.model, request.contract.hash
            span.prompt_hash = request.prompt_hash
            settled = await drive(ask, client=client, branch=branch, ledger=ledger, run=run)
            if settled.error is not None:
                raise settled.error
            value = own.response if client is own else self._value(settled.value, run, stream)
        except BaseException as error:
            span.fail(error, run)
            raise
        span.succeed(settled.value, Any, run)
        return value

    def _value(self, data: Any, run: Run, stream: Callable[[list[Any]], Any]) -> Any:
        request = run.requests[-1]
        if self.streams:
            return stream(chunks(self._library, data, request))
        return answer(self._library, data, request)

    def _readable(self, span: Span, lenient: bool) -> Ask | None:
        """Return what is asked; None if it cannot be read and nobody needs to."""
        try:
            return self._ask(span.secrets)
        except InputError:
            if lenient:
                return None
            raise

    def _ask(self, secrets: Secrets) -> Ask:
        """Return what is asked, as an `@infer` function would ask it."""
        who, messages = self.caller, self._messages()
        intent = Conversation.of(messages).system
        question = Question(
            site=Site(who.file, who.module, who.function, who.line, intent),
            contract=contract_of(self._library, stream=self.streams),
            template=_Messages(who.function, "", ()),
            annotations={},
            returns=Any,
            retries=0,
            params=self._shaping(),
            wire=_DIRECT,
        )
        model = str(self._arguments["model"])
        ask = begin(question, {"messages": messages}, model=model, secrets=secrets)
        limited = replace(question, params={"max_tokens": output_limit(self._arguments)})
        return replace(ask, question=limited)  # what a budget sets aside; the key is made

    def _messages(self) -> list[dict[str, Any]]:
        messages = self._arguments.get("messages")
        if not isinstance(messages, (list, tuple)) or not self._arguments.get("model"):
            raise InputError(
                f"{self.caller.function}: a wrapped call needs a model and a list of messages."
            )
        try:
            return neutral(messages)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{self.caller.function}: {error}") from error

    def _shaping(self) -> dict[str, Any]:
        """Return the arguments that can shape the answer, as JSON data."""
        left = {name: v for name, v in self._arguments.items() if name not in UNKEYED}
        said = {n: v for n, v in left.items() if v is not None and n not in ("model", "messages")}
        try:
            data = {n: _plain(n, said[n]) for n in sorted(said) if not _is_absent(said[n])}
            canonical(data)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{self.caller.function}: {error}") from error
        return data


def _plain(name: str, value: Any) -> Any:
    """Return an argument as JSON data; a model class as its schema."""
    if isinstance(value, type) and issubclass(value, BaseModel):
        return neutral_schema(TypeAdapter(value))
    data = jsonable(value, name)
    return _without_accounts(data) if name in _ROUTES else data


def _without_accounts(value: Any) -> Any:
    """Leave out of other models to ask who asks them, and where."""
    if isinstance(value, dict):
        return {n: _without_accounts(v) for n, v in value.items() if n not in UNKEYED}
    return [_without_accounts(v) for v in value] if isinstance(value, list) else value


def _needs_quote(ledger: Ledger | None) -> bool:
    return ledger is not None and ledger.needs_quote


def _is_absent(value: Any) -> bool:
    return type(value).__name__ in _ABSENT


def _is_ours(frame: FrameType) -> bool:
    """Say whether Stratum's own client calls: litellm.acompletion itself was replaced."""
    return str(frame.f_globals.get("__name__")).startswith("stratum.clients.")


def _named(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return all arguments by name."""
    if not args:
        return dict(kwargs)
    return dict(inspect.signature(function).bind_partial(*args).arguments) | kwargs


def _client(inside: Inside, own: Original) -> Client:
    """Return who answers: a client that costs nothing and was named, the recordings, the original.

    A live client that was configured is for `@infer` functions: a direct call asks its own.
    """
    root = inside.root
    named = inside.client or (process.client if root.client is None else None)
    if named is not None and not getattr(named, "live", True):
        return named
    return root.wrap(own) if root.wrap is not None else own
