"""A step and its call: run one, given a way to run it."""

import asyncio
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from inspect import Parameter, Signature
from types import CodeType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from stratum.blocking import background_loop, run_now
from stratum.budget import Budget, Ledger
from stratum.engine import Run
from stratum.errors import (
    BudgetExceeded,
    ContractViolated,
    ConvergenceFailure,
    CutOff,
    DeclarationError,
    InputError,
    NotAwaited,
    PostconditionFailed,
    QuorumFailed,
    Refused,
)
from stratum.redact import Secrets
from stratum.roots import Branch, Inside, next_number, record_id
from stratum.scope import (
    current,
    enter,
    in_sync_flow,
    keep,
    leave,
    process,
    secrets,
    surrounded,
)
from stratum.trace import Ending, Kind, TraceRecord, snapshot
from stratum.values import dataclass, maker

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_trace_record = maker(TraceRecord)


class Call(Coroutine[Any, Any, T_co], Generic[T_co]):
    """A call that has been made and not yet been awaited; await it once for its value.

    It is no value itself: truth, attributes, comparison and iteration raise `NotAwaited`.
    """

    __slots__ = (
        "__weakref__", "_at", "_code", "_coroutine", "_name", "_root", "_start", "_taken", "_ticket"
    )  # fmt: skip

    def __init__(self, name: str, start: Callable[..., Coroutine[Any, Any, T_co]], depth: int = 2):
        frame = sys._getframe(depth)
        self._name = name
        self._start = start
        self._taken = False
        self._coroutine: Coroutine[Any, Any, T_co] | None = None
        self._code: CodeType = frame.f_code
        self._at: int = frame.f_lasti
        self._root = process.root
        self._ticket = next_number()
        if self._root is not None:
            self._root.pending[self._ticket] = self._where

    def _where(self) -> str:
        code, at = self._code, self._at
        line = next((line for start, end, line in code.co_lines() if start <= at < end), None)
        return f"{self._name}(...) at {code.co_filename}:{line}"

    def take(self) -> Callable[..., Coroutine[Any, Any, T_co]]:
        """Return what starts the call, once; whoever took it answers for its being awaited.

        Given an error, it starts a call that ends with it at once, so that it is traced.
        """
        if self._taken:
            raise NotAwaited(
                f"{self._where()} was awaited twice.\n"
                "  A call is asked once; keep its value, or call the function again."
            )
        self._taken = True
        if self._root is not None:
            self._root.pending.pop(self._ticket, None)
        start = self._start
        del self._start  # what it holds is gone when the call has ended
        return start

    def __await__(self) -> Generator[Any, Any, T_co]:
        return self.take()().__await__()

    def send(self, value: Any) -> Any:
        if self._coroutine is None:
            self._coroutine = self.take()()
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        if self._coroutine is not None:
            return self._coroutine.throw(*error)
        self._coroutine = self.take()(error[0])  # cancelled before it began
        return self._coroutine.send(None)

    def close(self) -> None:
        if not self._taken:
            self.take()
        if self._coroutine is not None:
            self._coroutine.close()

    def __del__(self) -> None:
        if not self._taken and self._root is None and not sys.is_finalizing():
            warnings.warn(f"{self._where()} was never awaited", RuntimeWarning, stacklevel=2)

    def __repr__(self) -> str:
        return f"<call of {self._where()}>"

    def _misused(self, use: str) -> NoReturn:
        raise NotAwaited(
            f"{self._where()} was {use} before it was awaited.\n"
            f"  Write `await {self._name}(...)`, or `{self._name}.run(...)` in synchronous code."
        )

    def __hash__(self) -> int:
        return id(self)

    if not TYPE_CHECKING:  # to type checkers these are mistakes: it has no such methods

        def __bool__(self) -> bool:
            if sys._getframe(1).f_globals.get("__name__") != "asyncio.base_tasks":
                self._misused("used as a truth value")
            return True  # asyncio is showing a task (from Python 3.12 on)

        def __getattr__(self, name: str) -> Any:
            if name.startswith(("__", "cr_", "gi_", "ag_")):  # asyncio looks for these
                raise AttributeError(name)
            self._misused(f"asked for its attribute {name!r}")

        def __eq__(self, other: object) -> bool:
            self._misused("compared")

        def __iter__(self) -> Any:
            self._misused("iterated over")

        def __len__(self) -> int:
            self._misused("measured")

        def __contains__(self, item: object) -> bool:
            self._misused("searched")

        def __getitem__(self, item: object) -> Any:
            self._misused("indexed")

        def __str__(self) -> str:
            self._misused("turned into text")

        def __format__(self, spec: str) -> str:
            self._misused("put into a text")


class RunnableCall(Call[T], Generic[T]):
    """A call that is also run from synchronous code: `.run()` instead of `await`."""

    __slots__ = ()

    def run(self) -> T:
        """Run it and wait; raises `NotAwaited` inside a running event loop."""
        return run_now(self._name, self.take())


def step(name: str, start: Callable[..., Coroutine[Any, Any, T]]) -> RunnableCall[T]:
    """Return a construct's call; its value at once, in the body of a synchronous flow."""
    if in_sync_flow():
        value: Any = run_now(name, start)
        return value  # type: ignore[no-any-return]
    return RunnableCall(name, start, depth=3)


@dataclass(frozen=True, slots=True)
class Inputs:
    """A function's parameters: binds arguments the way Python does, without `self`."""

    name: str
    signature: Signature
    annotations: Mapping[str, Any]
    required: frozenset[str]
    defaults: Mapping[str, Any]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the value of every parameter by name; `TypeError` as a plain call would."""
        names = kwargs.keys()
        if not args and names == self.annotations.keys():
            in_order = len(kwargs) == 1
            return kwargs if in_order else {name: kwargs[name] for name in self.annotations}
        if not args and names >= self.required and names <= self.annotations.keys():
            return {n: kwargs[n] if n in kwargs else self.defaults[n] for n in self.annotations}
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound.apply_defaults()
        return bound.arguments


def inputs_of(
    function: Callable[..., Any], signature: Signature, hints: Mapping[str, Any], *, method: bool
) -> Inputs:
    """Return the parameters of a decorated function, the first left out for a method."""
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    for parameter in parameters:
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise DeclarationError(
                f"{function.__qualname__} takes {parameter}, so its inputs have no names.\n"
                "  Name each parameter, or take one list or dict."
            )
    return Inputs(
        name=function.__qualname__,
        signature=signature.replace(parameters=parameters),
        annotations={p.name: hints.get(p.name, Any) for p in parameters},
        required=frozenset(p.name for p in parameters if p.default is Parameter.empty),
        defaults={p.name: p.default for p in parameters if p.default is not Parameter.empty},
    )


def is_method(function: Callable[..., Any], signature: Signature) -> bool:
    """Say whether a function that is being decorated stands in a class body."""
    outer, _, _ = function.__qualname__.rpartition(".")
    first = next(iter(signature.parameters), None)
    return bool(outer) and not outer.endswith("<locals>") and first in ("self", "cls")


class Span:
    """A trace record in the making.

    `details` is what only its kind of step has; the model and the hashes are those of a call.
    """

    __slots__ = (
        "_clock", "_function", "_inputs", "_inside", "_kind", "_parent", "_start", "around",
        "branch", "contract_hash", "details", "id", "model", "number", "prompt_hash", "secrets",
    )  # fmt: skip

    def __init__(
        self, kind: Kind, function: str, values: Mapping[str, Any], inputs: Inputs
    ) -> None:
        inside = current()
        self.branch: Branch = inside.branch.here()
        self.number: int = next_number()
        self.id: str = record_id(self.number)
        self.around: Inside = inside
        self._inside: Inside | None = None
        self.secrets: Secrets = secrets()
        self.model: str | None = None
        self.contract_hash: str | None = None
        self.prompt_hash: str | None = None
        self.details: Mapping[str, Any] | None = None
        self._kind: Kind = kind
        self._function = function
        self._parent = inside.parent
        self._start = datetime.now(UTC)
        self._clock = time.perf_counter()
        self._inputs: dict[str, Any] = {}
        for name, value in values.items():
            annotation = inputs.annotations.get(name, Any)
            self._inputs[name] = snapshot(value, annotation, self.secrets)

    @property
    def inside(self) -> Inside:
        """What surrounds the body, and every call that it makes."""
        if self._inside is None:
            self._inside = replace(self.around, branch=self.branch, parent=self.id)
        return self._inside

    @inside.setter
    def inside(self, inside: Inside) -> None:
        self._inside = inside

    def succeed(self, value: Any, annotation: Any, run: Run | None = None) -> None:
        self._keep("ok", snapshot(value, annotation, self.secrets), None, run)

    def fail(self, error: BaseException, run: Run | None = None) -> None:
        text = self.secrets.scrub(f"{type(error).__name__}: {error}")
        self._keep(self._ending(error), None, text, run)

    def _ending(self, error: BaseException) -> Ending:
        if isinstance(error, asyncio.CancelledError):
            ledger = self.inside.ledger
            late = ledger is not None and any(each.expired for each in ledger.time.chain())
            return "over_budget" if late else "cancelled"
        for kind, ending in _ENDINGS.items():
            if isinstance(error, kind):
                return ending
        return "error"

    def _keep(self, outcome: Ending, output: Any, error: str | None, run: Run | None) -> None:
        calls = tuple(run.attempts) if run else ()
        if calls and calls[0].violations and self.secrets:  # else it was the only one
            calls = tuple(
                replace(c, violations=tuple(map(self.secrets.scrub, c.violations))) for c in calls
            )
        record = _trace_record(
            self.id,
            self._parent,
            self._kind,
            self._function,
            self._start,
            (time.perf_counter() - self._clock) * 1000,
            outcome,
            self._inputs,
            output,
            error,
            run.requests[0].place if run and run.requests else None,
            (*self.branch.order, self.number),
            self.model,
            self.contract_hash,
            self.prompt_hash,
            calls,
            self.details,
        )
        keep(record, self.around.root)


_ENDINGS: dict[type[BaseException], Ending] = {
    ContractViolated: "rejected",
    PostconditionFailed: "rejected",
    QuorumFailed: "rejected",
    ConvergenceFailure: "rejected",
    Refused: "refused",
    CutOff: "cut",
    BudgetExceeded: "over_budget",
    InputError: "input_error",
}


@asynccontextmanager
async def inside_of(span: Span, budget: Budget | None, name: str) -> AsyncIterator[Ledger | None]:
    """Let the span, and its budget if it has one, surround the body; gives the ledger."""
    inside = span.inside
    if budget is None:
        token = enter(inside)
        try:
            yield inside.ledger
        finally:
            leave(token)
        return
    ledger = _ledger(inside, budget, name)
    span.inside = replace(inside, ledger=ledger)
    token = enter(span.inside)
    try:
        async with ledger.time.bounded():
            yield ledger
    finally:
        leave(token)


@contextmanager
def sync_inside_of(span: Span, budget: Budget | None, name: str) -> Iterator[None]:
    """Let the span, and its budget, surround a body whose steps give their values."""
    inside = replace(span.inside, is_sync=True)
    if budget is None:
        span.inside = inside
        with surrounded(inside):
            yield
        return
    ledger = _ledger(inside, budget, name)
    span.inside = replace(inside, ledger=ledger)
    with surrounded(span.inside), ledger.time.watched(background_loop()):
        yield


def _ledger(inside: Inside, budget: Budget, name: str) -> Ledger:
    root = inside.root
    return Ledger(
        budget,
        name,
        inside.ledger,
        only_while_asking=root.clock.is_fixed,
        when_calm=root.calm.wait,
    )
