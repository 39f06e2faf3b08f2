"""What surrounds a call: root, branch, parent, ledger, client; the one `ContextVar`."""

import asyncio
import itertools
import os
import threading
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token, copy_context
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from stratum.budget import Ledger
from stratum.calls import Client, Clock, Place
from stratum.errors import ConfigurationError
from stratum.hashing import digest
from stratum.redact import Secrets, is_secret_name
from stratum.settings import Settings, load
from stratum.trace import TraceRecord
from stratum.turns import Turns
from stratum.values import dataclass

if TYPE_CHECKING:  # of pydantic models, which take long to make
    from stratum.reviews import ReviewSink

P = ParamSpec("P")
R = TypeVar("R")

KEPT = 10_000  # records kept in memory

_numbers = itertools.count(1)
_prefix = os.urandom(4).hex()


class SystemClock:
    """Real time, ids and randomness."""

    runs = True

    def now(self) -> datetime:
        return datetime.now(UTC)

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def random(self) -> float:
        import random as randomness  # a millisecond that few programs need to spend

        return randomness.random()


_system_clock = SystemClock()


class FixedClock:
    """Time, ids and randomness that are the same on every run, from place and count alone."""

    def __init__(self, now: datetime, *, runs: bool) -> None:
        self.runs = runs
        self._now = now
        self._counts: dict[object, itertools.count[int]] = {}

    def now(self) -> datetime:
        return self._now

    def new_id(self) -> str:
        return str(uuid.UUID(self._draw("id")[:32], version=4))

    def random(self) -> float:
        return int(self._draw("random")[:13], 16) / 16**13

    def _draw(self, purpose: str) -> str:
        indices = current().branch.here().indices
        count = self._counts.setdefault((indices, purpose), itertools.count())
        return digest([purpose, list(indices), next(count)])


class Root:
    """One test phase, one fixture, or one outermost flow: where places are counted from.

    `client` answers all calls below it that name none; `wrap` is put around a live client
    that a call or block names itself. `misses` and `forgotten` are for whoever set the root.
    """

    def __init__(
        self,
        name: str,
        clock: Clock | None = None,
        client: Client | None = None,
        wrap: Callable[[Client], Client] | None = None,
        model: str | None = None,
    ) -> None:
        self.name = name
        self.clock: Clock = clock or _system_clock
        self.client = client
        self.wrap = wrap
        self.model = model
        self.askers: dict[tuple[tuple[int, ...], str], _Askers] = {}
        self.handed: set[int] = set()
        self.memory: dict[str, Any] = {}
        self.records: deque[TraceRecord] = deque(maxlen=KEPT)
        self.pending: dict[int, Callable[[], str]] = {}
        self.misses: list[Exception] = []
        self.run: str | None = None
        self.steps = 0  # requests placed and records kept: whether something goes on

    # Most phases of tests, and most fixtures, make no call: they need neither, and, without them,
    # are gone when nobody refers to them any more.
    @cached_property
    def branch(self) -> "Branch":
        return Branch(self)

    @cached_property
    def inside(self) -> "Inside":
        return Inside(self, self.branch)

    @property
    def run_id(self) -> str:
        """What tells this root from all others in ids that leave the process.

        Empty under record and replay, where ids are the same on every run.
        """
        if isinstance(self.clock, FixedClock):
            return ""
        if self.run is None:
            self.run = str(uuid.uuid4())
        return self.run


class _Askers:
    """Who made one call in branches of one pattern.

    `thread` is the first one's; `branches` holds, by indices, a branch's number in order of
    arrival and how often it has made the call.
    """

    __slots__ = ("branches", "thread")

    def __init__(self, thread: int | None) -> None:
        self.thread = thread
        self.branches: dict[tuple[int, ...], list[int]] = {}


class Branch:
    """One line of execution below a root: its fan-out indices, and the task that runs it.

    Tasks that a user starts inside a branch are branches of their own, numbered by arrival.
    A branch that nobody runs yet, or whose own task has ended, is continued by a later task
    that is alone in its loop: any other may have been started by one that has not called
    yet. Threads without their caller's context make one branch together (SPEC 4.2).
    """

    def __init__(
        self,
        root: Root,
        indices: tuple[int, ...] = (),
        pattern: tuple[int, ...] = (),
        order: tuple[int, ...] = (),
        task: object = None,
        thread: int | None = None,
        turns: Turns | None = None,
        outer: "Branch | None" = None,
    ) -> None:
        self.root = root
        self.indices = indices  # those given by arrival count down from -1
        self.pattern = pattern  # the indices, with -1 for all that were given by arrival
        self.order = order
        self.task = task
        self.thread = thread  # of several that share the branch
        self.turns = turns  # of the outermost fan-out around that stops early
        self.outer = outer
        self.is_stopped = False  # a fan-out cancelled it: it makes no further call
        self._earlier: weakref.WeakSet[asyncio.Task[Any]] | None = None
        self._arrived: weakref.WeakKeyDictionary[Any, Branch] | None = None
        self._arrivals = itertools.count()

    def fork(self, index: int, at: int, turns: Turns | None = None) -> "Branch":
        """Return the branch of a fan-out's argument; `at` numbers the fan-out itself."""
        return Branch(
            self.root,
            (*self.indices, index),
            (*self.pattern, index),
            (*self.order, at, index),
            thread=self.thread,
            turns=self.turns or turns,
            outer=self,
        )

    def continued(self) -> "Branch":
        """Return this branch for the running task to continue."""
        task = asyncio.current_task()
        return self._copy(task, self.thread)

    def without_task(self) -> "Branch":
        """Return this branch for code that runs in no task to continue."""
        return self._copy(None, self.thread)

    def of_thread(self) -> "Branch":
        """Return the branch of threads that were started without their caller's context."""
        with process.lock:
            shared = self._arrive(_threads)
        number = threading.get_ident()
        return shared._copy(None, number)

    def _copy(self, task: object, thread: int | None) -> "Branch":
        return Branch(
            self.root, self.indices, self.pattern, self.order, task, thread, self.turns, self
        )

    def check(self) -> None:
        """Raise `CancelledError` in a branch, or below one, that a fan-out cancelled.

        So no code that goes on after its cancellation makes a further call.
        """
        branch: Branch | None = self
        while branch is not None:
            if branch.is_stopped:
                raise asyncio.CancelledError
            branch = branch.outer

    def claim(self) -> None:
        """Make the running task the branch's own."""
        self.task = asyncio.current_task()

    def here(self) -> "Branch":
        """Return the branch that the running task is on; outside a loop this one."""
        try:
            return self.at(asyncio.current_task())
        except RuntimeError:
            return self

    def at(self, runner: Any) -> "Branch":
        if runner is self.task or runner is None:
            return self
        if self._is_free(runner) and _is_alone():
            self._adopt(runner)
            return self
        return self._arrive(runner)

    def _is_free(self, runner: Any) -> bool:
        task = self.task
        ended = isinstance(task, asyncio.Task) and task.done()
        return task is None or (ended and not self._was_there(runner))

    def _was_there(self, runner: Any) -> bool:
        return self._earlier is not None and runner in self._earlier

    def _adopt(self, runner: "asyncio.Task[Any]") -> None:
        self.task = runner
        runner.add_done_callback(self._remember_tasks)

    def _remember_tasks(self, ended: "asyncio.Task[Any]") -> None:
        """Note who had started before the branch's own task ended."""
        self._earlier = weakref.WeakSet(asyncio.all_tasks(ended.get_loop()))

    def _arrive(self, runner: Any) -> "Branch":
        if self._arrived is None:
            self._arrived = weakref.WeakKeyDictionary()
        branch = self._arrived.get(runner)
        if branch is None:
            index, at = -1 - next(self._arrivals), next(_numbers)
            branch = Branch(
                self.root,
                (*self.indices, index),
                (*self.pattern, -1),
                (*self.order, at, 0),
                runner,
                turns=self.turns,
                outer=self,
            )
            self._arrived[runner] = branch
        return branch


@dataclass(eq=False, slots=True)
class Block:
    """What one `using` sets, together with those around it."""

    client: Client | None
    model: str | None
    outer: "Block | None"
    is_open: bool = True
    sink: "ReviewSink | Callable[..., Any] | None" = None
    stub: tuple[Any, Callable[..., Any]] | None = None


@dataclass(frozen=True, slots=True)
class Inside:
    """What surrounds a call."""

    root: Root
    branch: Branch
    parent: str | None = None
    ledger: Ledger | None = None
    client: Client | None = None
    model: str | None = None
    block: Block | None = None
    is_sync: bool = False  # in the body of a synchronous flow, whose steps give their values

    def on(self, branch: Branch) -> "Inside":
        """Return the same on another branch; `dataclasses.replace` takes four times as long."""
        root, parent, ledger, client = self.root, self.parent, self.ledger, self.client
        return Inside(root, branch, parent, ledger, client, self.model, self.block, self.is_sync)


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
        self.memory: dict[str, Any] = {}
        self.disk_memory: Any = None
        self.make_sink: Callable[[Any], ReviewSink] | None = None
        self.sink: ReviewSink | Callable[..., Any] | None = None
        self.at_console: list[object] = []  # the reviews in line for the terminal
        self.lock = threading.Lock()


class _Threads:
    """Who runs the branch of threads without context."""


process = Process()
_threads = _Threads()
_inside: ContextVar[Inside | None] = ContextVar("stratum", default=None)


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


def enter(inside: Inside) -> Token[Inside | None]:
    return _inside.set(inside)


def leave(token: Token[Inside | None]) -> None:
    _inside.reset(token)


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


def place(branch: Branch, key: str) -> tuple[Place, bool]:
    """Take the place of a request; True says that another task or thread made the same one.

    Tasks that the user started are numbered for each key by itself: which of them came first
    says nothing about a call that only one of them makes.
    """
    root, slot = branch.root, (branch.pattern, key)
    with process.lock:
        root.steps += 1
        askers = root.askers.get(slot)
        if askers is None:
            askers = root.askers[slot] = _Askers(branch.thread)
        asker = askers.branches.get(branch.indices)
        if asker is None:
            asker = askers.branches[branch.indices] = [len(askers.branches), 0]
        nth, turn = asker
        asker[1] = turn + 1
    taken = Place(_numbered(branch.pattern, nth), turn)
    return taken, nth > 0 or branch.thread != askers.thread


def _is_alone() -> bool:
    """Say whether the running task can have been started by no other of the test's."""
    main = threading.current_thread() is threading.main_thread()
    return main and len(asyncio.all_tasks()) == 1


def _numbered(pattern: tuple[int, ...], nth: int) -> tuple[int, ...]:
    """Put a number by arrival into a branch's pattern, at the last index that has none."""
    if not nth:
        return pattern
    last = max(at for at, index in enumerate(pattern) if index < 0)
    return (*pattern[:last], -1 - nth, *pattern[last + 1 :])


def next_number() -> int:
    """Return a number larger than all before; ids and orders are made of it."""
    return next(_numbers)


def record_id(number: int) -> str:
    """Return a trace record's id: 16 hex digits, unique across processes."""
    return f"{_prefix}{number:08x}"


def keep(record: TraceRecord, root: Root) -> None:
    """Keep a trace record."""
    process.records.append(record)
    root.records.append(record)
    root.steps += 1


def traces() -> tuple[TraceRecord, ...]:
    """Return the trace records of this process, oldest first (the last 10,000)."""
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
    if any(inputs.name == function for inputs, _ in _stubs(inside)):
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
    if inside.block is None:
        return None
    return next((stub for stubbed, stub in _stubs(inside) if stubbed is inputs), None)


def _stubs(inside: Inside) -> Iterator[tuple[Any, Callable[..., Any]]]:
    block = inside.block
    while block is not None:
        if block.stub is not None and block.is_open:
            yield block.stub
        block = block.outer


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
    """Return the time, aware and in UTC; the same on every run under record and replay."""
    return current().root.clock.now()


def new_id() -> str:
    """Return a new UUID as text; under record and replay derived from place and count."""
    return current().root.clock.new_id()


def random() -> float:
    """Return a number in [0, 1); under record and replay derived from place and count."""
    return current().root.clock.random()
