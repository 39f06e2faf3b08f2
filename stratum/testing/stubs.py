"""Let a function answer with given values, wherever it was imported."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import copy, deepcopy
from functools import wraps
from types import TracebackType
from typing import Any, Self, TypeVar

from stratum.calls import Client, Quote, Reply, Request
from stratum.contracts import Contract, Unreadable
from stratum.errors import ConfigurationError, DeclarationError
from stratum.infer import Infer
from stratum.scope import standing_in
from stratum.traced import Traced, TracedCoroutine

F = TypeVar("F", bound=Callable[..., Any])


class Stub:
    """What stands in for one function; enter it, or put it on a test as a decorator.

    `calls` holds the inputs of each call by name, from when it was entered.
    """

    def __init__(self, function: Any, answer: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self._inputs = function._inputs
        self._name: str = self._inputs.name
        self._is_asked = isinstance(function, Infer)
        self._is_async = isinstance(function, (Infer, TracedCoroutine))
        self._contract = _contract_of(function)
        self._function = answer if _is_function(answer) else None
        self._script = answer if isinstance(answer, list) else None
        self._answer = answer
        self._rest: Iterator[Any] = iter(())
        self._blocks: list[AbstractContextManager[None]] = []
        self._check(answer)

    def __enter__(self) -> Self:
        block = standing_in(self._inputs, self._replacement())
        block.__enter__()
        self._blocks.append(block)
        self.calls = []
        self._rest = iter(self._script or ())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._blocks.pop().__exit__(kind, error, traceback)

    def __call__(self, test: F) -> F:
        """Decorate a test: the stub is entered anew for each of its runs."""
        if not inspect.isfunction(test) or inspect.isgeneratorfunction(test):
            raise DeclarationError(
                f"stub({self._name}, ...) was put on {test!r}, which is no plain test.\n"
                "  Put it on a def or async def; in a fixture write `with stub(...): yield`."
            )
        if inspect.isasyncgenfunction(test):
            raise DeclarationError(
                f"stub({self._name}, ...) was put on {test.__qualname__}, an async generator.\n"
                "  Write `with stub(...): yield` in it."
            )
        entered: F = _entered_by(self, test)
        return entered

    def again(self) -> "Stub":
        """Return the same stub, not entered yet."""
        made = copy(self)
        made._blocks = []
        return made

    def __repr__(self) -> str:
        return f"<stub of {self._name}>"

    def _replacement(self) -> Callable[..., Any]:
        """Return what stands in: a client for the inputs of an `@infer` call, or a function."""
        if self._is_asked:
            return self._client
        return self._run if self._is_async else self._run_now

    def _client(self, values: Mapping[str, Any]) -> Client:
        return _StubClient(self, dict(values))

    async def _run(self, *args: Any, **kwargs: Any) -> Any:
        values = self._bound(args, kwargs)
        self.calls.append(values)
        return await self._answered(values)

    def _run_now(self, *args: Any, **kwargs: Any) -> Any:
        values = self._bound(args, kwargs)
        self.calls.append(values)
        return self._checked(self._next(values))

    async def _answered(self, values: dict[str, Any]) -> Any:
        answer = self._next(values)
        return self._checked(await answer if inspect.isawaitable(answer) else answer)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            bound = self._inputs.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}: {error}") from None
        bound.apply_defaults()
        given = bound.arguments.items()
        return {name: value for name, value in given if name not in ("self", "cls")}

    def _next(self, values: dict[str, Any]) -> Any:
        if self._function is not None:
            return self._function(**_taken(self._function, values))
        if self._script is None:
            return self._answer
        for answer in self._rest:
            return answer
        raise ConfigurationError(
            f"stub({self._name}, [...]) has no answer left: all {len(self._script)} are given.\n"
            "  Add one to its list, or pass a function of the inputs."
        )

    def _check(self, answer: Any) -> None:
        if self._function is None:
            for each in self._script if self._script is not None else [answer]:
                if not isinstance(each, BaseException):
                    self._read(each)
        elif not self._is_async and inspect.iscoroutinefunction(answer):
            raise ConfigurationError(
                f"stub({self._name}, ...): {self._name} is synchronous, and the function that "
                "stands in for it is not.\n  Write it as a plain def."
            )

    def _checked(self, answer: Any) -> Any:
        """Return an answer as the function gives it; raises one that is an error."""
        if isinstance(answer, BaseException):
            raise answer
        return self._read(answer)

    def _read(self, answer: Any) -> Any:
        if self._contract is None:
            return answer
        try:
            return self._contract.read(_wrapped(self._contract, answer))
        except Unreadable as unreadable:
            reasons = "\n".join(f"  - {problem}" for problem in unreadable.problems)
            hint = "a list holds one answer for each call" if self._script is not None else ""
            raise ConfigurationError(
                f"stub({self._name}, ...): {answer!r:.200} could not be its answer"
                f"{f' ({hint})' if hint else ''}:\n{reasons}\n"
                f"  Give what fits {self._contract.name}; stratum.testing.example_of makes one."
            ) from None


class _StubClient:
    """Answers one call of an `@infer` function."""

    live = False

    def __init__(self, stub: Stub, values: dict[str, Any]) -> None:
        self._stub = stub
        self._values = values

    async def complete(self, request: Request) -> Reply:
        if not request.attempt:
            self._stub.calls.append(self._values)
        value = await self._stub._answered(self._values)
        data = _data_of(request.contract, value)
        return Reply(data=data, model=request.model, origin="scripted")

    async def quote(self, request: Request) -> Quote:
        return Quote(0, 0.0, 0.0, free=True)


def stub(function: Any, answer: Any) -> Stub:
    """Let an `@infer`, `@flow` or `@compute` function answer with what is given.

    `answer` is a value, a list of values for one call each, an exception to raise, or a
    function, sync or async, of those inputs that it names. A value that the function's contract
    does not take is a `ConfigurationError`. It holds for the block, or the decorated test, and
    for the tasks and `carry`-ed threads begun in it; copies and methods of the function, under
    whatever name, answer alike. Nobody is asked, nothing is recorded, budgets are left alone.

    >>> from stratum import infer
    >>> @infer(intent="Say whether the text is friendly")
    ... def friendly(text: str) -> bool: ...
    >>> with stub(friendly, lambda text: "love" in text) as calls:
    ...     friendly.run(text="I love it")
    True
    >>> calls.calls
    [{'text': 'I love it'}]
    """
    if not isinstance(function, (Infer, Traced)):
        raise ConfigurationError(
            f"stub({function!r}, ...) takes a function under @infer, @flow or @compute.\n"
            "  Replace others with pytest's monkeypatch."
        )
    return Stub(function, answer)


def _entered_by(made: Stub, test: Any) -> Any:
    if inspect.iscoroutinefunction(test):

        @wraps(test)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            with made.again():
                return await test(*args, **kwargs)

        return run_async

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> Any:
        with made.again():
            return test(*args, **kwargs)

    return run


def _contract_of(function: Any) -> Contract | None:
    """Return what the answers have to fit; None for a step whose annotation says nothing."""
    if isinstance(function, Infer):
        return function.question.contract
    try:
        return Contract.of(function._returns, where=function._inputs.name)
    except DeclarationError:
        return None


def _is_function(answer: Any) -> bool:
    return callable(answer) and not isinstance(answer, (type, BaseException))


def _taken(function: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return those inputs that a function names, all if it has `**`."""
    try:
        accepted = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return values
    if any(one.kind is one.VAR_KEYWORD for one in accepted):
        return values
    return {one.name: values[one.name] for one in accepted if one.name in values}


def _wrapped(contract: Contract, answer: Any) -> Any:
    """Wrap an answer as the contract would have it, so that it is not taken for a wrapper."""
    return {"value": answer} if contract.wrapped else answer


def _data_of(contract: Contract, value: Any) -> Any:
    """Return a value as the JSON data of a reply; itself where its dump cannot be read."""
    try:
        data = _wrapped(contract, contract.dump(value))
        if contract.read(data) == value:
            return data
    except ValueError:  # it is refused, or there is no dump
        pass
    return _wrapped(contract, deepcopy(value))
