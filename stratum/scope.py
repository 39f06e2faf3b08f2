"""What surrounds a call: root, branch, parent, ledger, client; the one `ContextVar`."""

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token, copy_context
from dataclasses import replace
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from stratum.calls import Client
from stratum.errors import ConfigurationError
from stratum.redact import Secrets, is_secret_name
from stratum.roots import KEPT, Block, Inside, Root
from stratum.settings import Settings, load
from stratum.trace import TraceRecord

if TYPE_CHECKING:  # of pydantic models, which take long to make
    from stratum.reviews import ReviewSink

P = ParamSpec("P")
R = TypeVar("R")


class Process:
    """What is set for the whole process."""

    def __init__(self) -> None:
        self.root: Root | None = None
        self.default_client: Callable[[Settings], Client] | None = None
        self.client: Client | None = None
        self.model: str | None = None
        self.settings: Settings | None = None
        self.no_live_calls: str | None = None
        self.secrets: Secrets  # set by secrets(), as of `secrets_from`
        self.secrets_from: Any = None
        self.records: deque[TraceRecord] = deque(maxlen=KEPT)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.spare_loops: list[asyncio.AbstractEventLoop] = []
        self.desk_loop: asyncio.AbstractEventLoop | None = None  # of synchronous direct calls
        # What closes litellm's connections when their loop is closed.
        self.closing: dict[asyncio.AbstractEventLoop, AsyncGenerator[None]] = {}
        self.memory: dict[str, Any] = {}
        self.disk_memory: Any = None
        self.make_sink: Callable[[Any], ReviewSink] | None = None
        self.sink: ReviewSink | Callable[..., Any] | None = None
        self.at_console: list[object] = []  # the reviews in line for the terminal
        self.lock: threading.Lock = threading.Lock()
        self.of_parent: list[object] = []  # loops that cannot run here
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_loops)

    def _forget_loops(self) -> None:
        """Leave the parent its loops: in a forked process no thread runs them.

        They stay alive, because closing them would disturb the parent, and because litellm
        knows a loop by its id.
        """
        self.of_parent += [self.loop, self.spare_loops, self.desk_loop]
        self.loop = self.desk_loop = None
        self.spare_loops = []
        self.lock = threading.Lock()


process: Process = Process()
_inside: ContextVar[Inside | None] = ContextVar("stratum", default=None)
enter: Callable[[Inside], Token[Inside | None]] = _inside.set
leave: Callable[[Token[Inside | None]], None] = _inside.reset


def current() -> Inside:
    """Return what surrounds the running code; a new root when nothing does.

    A root that was set for the process wins over a context that belongs to another one:
    that context is a leftover of an earlier test. Blocks of `using` that are still open, as
    in a fixture, hold on.
    """
    inside = _inside.get()
    root = process.root
    if root is None:
        return inside if inside is not None else _outermost(Root("call"), None)
    if inside is None:
        return root.inside
    return inside if inside.root is root else _outermost(root, inside.block)


def _outermost(root: Root, block: Block | None) -> Inside:
    while block is not None and not block.is_open:
        block = block.outer
    if block is None:
        return root.inside
    return Inside(root, root.branch, client=block.client, model=block.model, block=block)


def in_sync_flow() -> bool:
    """Say whether the running code is the body of a synchronous flow, where no loop runs."""
    inside = _inside.get()
    if inside is None or not inside.is_sync or asyncio._get_running_loop() is not None:
        return False
    return current().is_sync


def continued() -> Inside:
    """Return what surrounds a synchronous call, for the background loop to continue.

    A thread that was started without its caller's context is a branch of its own.
    """
    inside = current()
    if _inside.get() is inside or threading.current_thread() is threading.main_thread():
        return inside
    return replace(inside, branch=inside.branch.of_thread())


@contextmanager
def surrounded(inside: Inside) -> Iterator[None]:
    """Let `inside` surround the body."""
    token = _inside.set(inside)
    try:
        yield
    finally:
        _inside.reset(token)


@contextmanager
def rooted(root: Root) -> Iterator[Root]:
    """Make `root` the root of everything that this process does in the body."""
    before, process.root = process.root, root
    try:
        yield root
    finally:
        process.root = before


def keep(record: TraceRecord, root: Root) -> None:
    """Keep a trace record."""
    process.records.append(record)
    root.records.append(record)
    root.steps += 1


def traces() -> tuple[TraceRecord, ...]:
    """Return the trace records of this process, oldest first (the last 10,000).

    >>> from stratum import compute
    >>> compute(lambda n: 2 * n)(4)
    8
    >>> traces()[-1].output
    8
    """
    return tuple(process.records)


def settings() -> Settings:
    """Return the settings of the project that the process runs in."""
    if process.settings is None:
        process.settings = load(Path.cwd())
    return process.settings


def secrets() -> Secrets:
    """Return what must not be stored, as the environment stands now."""
    environ = getattr(os.environ, "_data", None) or dict(os.environ)
    before = process.secrets_from
    if before != environ:
        if before is None or any(map(_may_be_secret, before.items() ^ environ.items())):
            process.secrets = Secrets.of(os.environ, settings().redact)
        process.secrets_from = dict(environ)
    return process.secrets


def _may_be_secret(variable: tuple[str | bytes, str | bytes]) -> bool:
    return is_secret_name(os.fsdecode(variable[0]))


def client_for(inside: Inside) -> Client:
    """Return who answers: the block's client, the root's, the configured or the default one."""
    root = inside.root
    if inside.client is not None:
        recorded = root.wrap is not None and getattr(inside.client, "live", True)
        return root.wrap(inside.client) if recorded and root.wrap else inside.client
    if root.client is not None:
        return root.client
    return live_client()


def live_client() -> Client:
    """Return the configured client, else the default one, made at the first need."""
    if process.client is None:
        if process.default_client is None:
            raise ConfigurationError("no client is configured; call stratum.configure(client=...)")
        process.client = process.default_client(settings())
    return process.client


def model_for(inside: Inside, declared: str | None, function: str) -> str:
    """Return the model to ask; the nearest word wins, a function's own is the nearest."""
    model = declared or inside.model or process.model or inside.root.model or _default_model()
    if model:
        return model
    if _is_stubbed(inside, function):
        return "stub"
    raise ConfigurationError(
        f"{function} has no model.\n"
        "  Give @infer(model=...), set model in [tool.stratum] of pyproject.toml, or "
        "STRATUM_MODEL in the environment."
    )


def _default_model() -> str | None:
    if process.root is not None and process.root.client is not None:
        return settings().model  # record and replay must agree: the plugin sets root.model
    return os.environ.get("STRATUM_MODEL") or settings().model


def configure(
    *,
    client: Client | None = None,
    model: str | None = None,
    review_sink: "ReviewSink | Callable[..., Any] | None" = None,
) -> None:
    """Set the client and the model for the whole process; what is None stays as it is.

    Functions that name a model keep it; blocks of `using` win over this. `review_sink` is
    where `await_human` asks.

    >>> configure(model="openai/gpt-4o-mini")
    """
    _check_choice("configure", client, model)
    if client is not None:
        process.client = client
    if model is not None:
        process.model = model
    if review_sink is not None:
        check_sink("configure(review_sink=...)", review_sink)
        process.sink = review_sink


def _check_choice(function: str, client: Any, model: Any) -> None:
    if isinstance(client, type) or not (client is None or hasattr(client, "complete")):
        raise ConfigurationError(
            f"{function}(client={client!r}); it takes an object with complete() and quote(), "
            "such as ScriptedClient([...])"
        )
    if model is not None and (not isinstance(model, str) or not model):
        raise ConfigurationError(f"{function}(model={model!r}); it takes a model's name")


def check_sink(where: str, sink: Any) -> None:
    """Refuse what is neither a review sink nor a function that decides."""
    if isinstance(sink, type) or not (hasattr(sink, "submit") or callable(sink)):
        raise ConfigurationError(
            f"{where} was given {sink!r}; it takes a ReviewSink, such as FileSink(), or a "
            "function that is given the review and returns the decision"
        )


@contextmanager
def using(
    *,
    client: Client | None = None,
    model: str | None = None,
    review_sink: "ReviewSink | Callable[..., Any] | None" = None,
) -> Iterator[None]:
    """Set the client or the model for the calls made in a block.

    A `ScriptedClient` answers as scripted in every mode; a live client is recorded and
    replayed like the default one. `review_sink` is where `await_human` asks.

    >>> from stratum import ScriptedClient, infer
    >>> @infer(intent="Count the words", model="any/model")
    ... def count(text: str) -> int: ...
    >>> with using(client=ScriptedClient([2])):
    ...     count.run(text="two words")
    2
    """
    _check_choice("using", client, model)
    if review_sink is not None:
        check_sink("using(review_sink=...)", review_sink)
    inside = current()
    sink = review_sink or (inside.block.sink if inside.block else None)
    block = Block(client or inside.client, model or inside.model, inside.block, sink=sink)
    try:
        with surrounded(replace(inside, client=block.client, model=block.model, block=block)):
            yield
    finally:
        block.is_open = False


@contextmanager
def standing_in(inputs: Any, stub: Callable[..., Any]) -> Iterator[None]:
    """Let a stub stand in for the function with these inputs, for what is called in a block.

    Copies of a function, as `.with_` and methods make them, share its inputs.
    """
    inside = current()
    outer = inside.block
    sink = outer.sink if outer else None
    block = Block(inside.client, inside.model, outer, sink=sink, stub=(inputs, stub))
    try:
        with surrounded(replace(inside, block=block)):
            yield
    finally:
        block.is_open = False


def stand_in(inside: Inside, inputs: Any) -> Callable[..., Any] | None:
    """Return the innermost stub of the function with these inputs."""
    block = inside.block
    while block is not None:
        if block.stub is not None and block.stub[0] is inputs and block.is_open:
            return block.stub[1]
        block = block.outer
    return None


def _is_stubbed(inside: Inside, function: str) -> bool:
    block = inside.block
    while block is not None:
        if block.stub is not None and block.stub[0].name == function and block.is_open:
            return True
        block = block.outer
    return False


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function with the caller's flow, budget and place, for a thread to run.

    >>> carry(abs)(-3)
    3
    """
    context = copy_context()

    @wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return carried


def now() -> datetime:
    """Return the time, aware and in UTC; the same on every run under record and replay.

    >>> now().tzname()
    'UTC'
    """
    return current().root.clock.now()


def new_id() -> str:
    """Return a new UUID as text; under record and replay derived from place and count.

    >>> len(new_id())
    36
    """
    return current().root.clock.new_id()


def random() -> float:
    """Return a number in [0, 1); under record and replay derived from place and count.

    >>> 0 <= random() < 1
    True
    """
    return current().root.clock.random()
