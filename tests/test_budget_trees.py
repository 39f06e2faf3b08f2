"""Random trees of every construct, cancelled and failing too, spend no more than allowed."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from stratum import (
    Budget,
    ProviderError,
    Quote,
    Reply,
    Request,
    StratumError,
    Usage,
    adaptive,
    debate,
    flow,
    infer,
    parallel,
    race,
    refine,
    using,
)
from stratum.blocking import background_loop
from stratum.budget import Amount, Ledger
from stratum.scope import current

PATIENCE = 20  # seconds, of which a tree takes a few hundredths
MOST, INPUT = 100, 10  # output and input tokens of each call at most
PRICE = 100.0  # dollars per million tokens
EACH = Decimal("0.0001")


@dataclass(frozen=True)
class Leaf:
    """A call: the output it wants, the turns of the loop it takes, and how it ends."""

    output: int
    turns: int
    end: Literal["answer", "fail", "fail billed", "unknown usage", "unreadable"]
    budget: Budget | None


@dataclass(frozen=True)
class Group:
    """A flow; a forgiving one goes on after a child that failed."""

    children: "tuple[Tree, ...]"
    together: bool
    forgiving: bool
    budget: Budget | None


@dataclass(frozen=True)
class Cancelled:
    """A tree that is cancelled after some turns of the loop."""

    child: "Tree"
    after: int


@dataclass(frozen=True)
class FanOut:
    """Steps of which not all are needed, or not all at once."""

    children: "tuple[Tree, ...]"
    need: Literal["first", "any", "half", "none", "all"]
    limit: int | None


@dataclass(frozen=True)
class Repeated:
    """A call that is asked several times; where answers differ, no two agree and none will do."""

    leaf: Leaf
    way: Literal["quorum", "samples", "refine"]
    differ: bool


@dataclass(frozen=True)
class Argued:
    """A debate: what its agents do in each round, and what the synthesiser does."""

    agents: "tuple[Tree, Tree]"
    conclusion: "Tree"
    rounds: int
    budget: Budget | None


@dataclass(frozen=True)
class Either:
    """An adaptive function, which a call carries out, or plain code with calls below it."""

    leaf: Leaf
    computed: "Tree"
    by_model: bool


@dataclass(frozen=True)
class InThread:
    """A synchronous flow in a thread; it goes on after a call that failed."""

    calls: tuple[Leaf, ...]
    budget: Budget | None


Tree: TypeAlias = Leaf | Group | Cancelled | FanOut | Repeated | Argued | Either | InThread

budgets = st.none() | st.builds(
    Budget,
    usd=st.none() | st.integers(0, 600).map(lambda tokens: tokens * float(EACH)),
    tokens=st.none() | st.integers(0, 600),
)
leaves = st.builds(
    Leaf,
    output=st.integers(0, MOST),
    turns=st.integers(0, 8),
    end=st.sampled_from(["answer", "answer", "answer", "fail", "fail billed", "unknown usage"]),
    budget=budgets,
)
retried = st.builds(
    Leaf,
    output=st.integers(0, MOST),
    turns=st.integers(0, 3),
    end=st.just("unreadable"),
    budget=budgets,
)
simple = st.one_of(
    leaves,
    leaves,
    retried,
    st.builds(
        Repeated,
        leaf=leaves,
        way=st.sampled_from(["quorum", "samples", "refine"]),
        differ=st.booleans(),
    ),
    st.builds(InThread, calls=st.lists(leaves, min_size=1, max_size=3).map(tuple), budget=budgets),
)


def _around(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    several = st.lists(inner, min_size=1, max_size=6).map(tuple)
    return st.one_of(
        st.builds(
            Group,
            children=several,
            together=st.booleans(),
            forgiving=st.booleans(),
            budget=budgets,
        ),
        st.builds(Cancelled, child=inner, after=st.integers(0, 12)),
        st.builds(
            FanOut,
            children=several,
            need=st.sampled_from(["first", "any", "half", "none", "all"]),
            limit=st.none() | st.integers(1, 3),
        ),
        st.builds(
            Argued,
            agents=st.tuples(inner, inner),
            conclusion=inner,
            rounds=st.integers(1, 2),
            budget=budgets,
        ),
        st.builds(Either, leaf=leaves, computed=inner, by_model=st.booleans()),
    )


trees: st.SearchStrategy[Tree] = st.recursive(simple, _around, max_leaves=16)


@dataclass
class Account:
    """What a budget allows, and what the calls below it cost or may still cost."""

    budget: Budget
    tokens: int = 0

    def take(self, tokens: int) -> bool:
        """Count tokens; False when they are more than allowed."""
        self.tokens += tokens
        usd = Decimal(str(self.budget.usd)) if self.budget.usd is not None else None
        most = self.budget.tokens
        return (usd is None or self.tokens * EACH <= usd) and (most is None or self.tokens <= most)


accounts: ContextVar[tuple[Account, ...]] = ContextVar("accounts", default=())


@contextmanager
def accounted(budget: Budget | None) -> Iterator[None]:
    if budget is None:
        yield
        return
    token = accounts.set((*accounts.get(), Account(budget)))
    try:
        yield
    finally:
        accounts.reset(token)


@dataclass
class Meter:
    """A client that keeps books of its own, by the worst case of what is under way."""

    live = False

    overdrawn: list[str] = field(default_factory=list)
    ledgers: set[Ledger] = field(default_factory=set)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def quote(self, request: Request) -> Quote:
        with self.lock:
            self.ledgers |= set(_chain())
        return Quote(INPUT, PRICE, PRICE)

    async def complete(self, request: Request) -> Reply:
        leaf, open_accounts, chain = leaves_by_request.get(), accounts.get(), _chain()
        most = MOST if request.cap is None else request.cap
        with self.lock:
            self.sent += 1
            said = f"{self.sent}" if all_differ.get() else "ok"
        self._take(open_accounts, INPUT + most)
        self._look_at(chain)
        for _ in range(leaf.turns):
            await asyncio.sleep(0)
        if leaf.end == "fail":
            self._take(open_accounts, -INPUT - most)
        if leaf.end.startswith("fail"):
            raise ProviderError("down", billed=leaf.end == "fail billed")
        if leaf.end == "unknown usage":
            return Reply(said, origin="scripted")
        output = min(leaf.output, most)
        self._take(open_accounts, output - most)
        self._look_at(chain)
        data = ["no", "text"] if leaf.end == "unreadable" else said
        return Reply(data, Usage(INPUT, output), origin="scripted")

    def _take(self, open_accounts: tuple[Account, ...], tokens: int) -> None:
        with self.lock:
            for account in open_accounts:
                if not account.take(tokens):
                    self.overdrawn.append(f"{account.tokens} tokens of {account.budget}")

    def _look_at(self, chain: tuple[Ledger, ...]) -> None:
        """Note a ledger that has spent and set aside more than its limits."""
        for ledger in chain:
            with ledger._tree.lock:
                if min(ledger._left()) < 0:
                    self.overdrawn.append(f"{ledger._left()} are left of {ledger.budget}")


def _chain() -> tuple[Ledger, ...]:
    ledger = current().ledger
    return tuple(ledger.chain()) if ledger else ()


leaves_by_request: ContextVar[Leaf] = ContextVar("leaf")
all_differ: ContextVar[bool] = ContextVar("all_differ", default=False)
either_way: ContextVar[Either] = ContextVar("either_way")


@infer(intent="Say it", model="test/model", max_tokens=MOST)
def say() -> str: ...


@infer(intent="Agree", model="test/model", max_tokens=MOST, quorum=3)
def agree() -> str: ...


@infer(intent="Vary", model="test/model", max_tokens=MOST, stable=False, samples=3)
def vary() -> str: ...


@refine(until=lambda said: said == "ok", max_iterations=3)
@infer(intent="Polish", model="test/model", max_tokens=MOST)
def polish() -> str: ...


async def compute_it() -> str:
    await perform(either_way.get().computed)
    return "ok"


@adaptive(compute=compute_it, infer=say, when=lambda: not either_way.get().by_model)
def either() -> str: ...


async def perform(tree: Tree) -> None:
    match tree:
        case Leaf(budget=budget):
            leaves_by_request.set(tree)
            all_differ.set(False)
            await asked(say, budget)
        case Cancelled(child, after):
            await cancelled(child, after)
        case Group(budget=budget):
            with accounted(budget):
                await (group if budget is None else group.with_(budget=budget))(tree)
        case FanOut():
            await fanned_out(tree)
        case Repeated(leaf, way, differ):
            leaves_by_request.set(leaf)
            all_differ.set(differ)
            functions: dict[str, Any] = {"quorum": agree, "samples": vary, "refine": polish}
            await asked(functions[way], leaf.budget)
        case Argued(budget=budget):
            with accounted(budget):
                await argued(tree)
        case Either(leaf=leaf):
            leaves_by_request.set(leaf)
            either_way.set(tree)
            await either()
        case InThread(calls, budget):
            with accounted(budget):
                whole = in_thread if budget is None else in_thread.with_(budget=budget)
                await asyncio.to_thread(whole, calls)


async def asked(function: Any, budget: Budget | None) -> None:
    with accounted(budget):
        await (function if budget is None else function.with_(budget=budget))()


async def fanned_out(tree: FanOut) -> None:
    steps = [perform(child) for child in tree.children]
    needs: dict[str, Any] = {"any": "any", "half": len(steps) // 2, "none": 0, "all": "all"}
    if tree.need == "first":
        await race(*steps, limit=tree.limit)
    else:
        await parallel(*steps, require=needs[tree.need], limit=tree.limit)


async def argued(tree: Argued) -> None:
    def part(does: Tree) -> Any:
        async def agent(topic: str) -> str:
            await perform(does)
            return topic

        return agent

    agents = [part(agent) for agent in tree.agents]
    conclusion = part(tree.conclusion)
    await debate(agents, "a", synthesize=conclusion, rounds=tree.rounds, budget=tree.budget)


@flow
def in_thread(calls: tuple[Leaf, ...]) -> None:
    for leaf in calls:
        leaves_by_request.set(leaf)
        all_differ.set(False)
        with suppress(StratumError), accounted(leaf.budget):
            _ = (say if leaf.budget is None else say.with_(budget=leaf.budget))()


@flow
async def group(tree: Group) -> None:
    steps = [forgiven(child) if tree.forgiving else perform(child) for child in tree.children]
    if tree.together:
        await parallel(*steps)
        return
    for index, step in enumerate(steps):
        try:
            await step
        except BaseException:
            for rest in steps[index + 1 :]:
                rest.close()
            raise


async def forgiven(tree: Tree) -> None:
    try:
        await perform(tree)
    except* StratumError:
        pass


async def cancelled(child: Tree, after: int) -> None:
    task = asyncio.create_task(forgiven(child))
    try:
        for _ in range(after):
            await asyncio.sleep(0)
    finally:
        task.cancel()
        while not task.done():  # whoever is cancelled meanwhile still waits for its own task
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])


def carried_out(tree: Tree) -> Meter:
    """Carry out a tree to its end, and return the books."""

    async def run() -> None:
        await forgiven(tree)
        others = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        assert not others, f"left running: {others}"

    meter, started = Meter(), time.monotonic()
    with using(client=meter):
        asyncio.run(run())  # returns when the threads have ended, too
    assert time.monotonic() - started < PATIENCE
    left = (task for task in asyncio.all_tasks(background_loop()) if not task.done())
    assert not [task for task in left if "litellm" not in repr(task)]  # its logger stays for good
    return meter


def envelope(*children: Tree, **limits: Any) -> Group:
    budget = Budget(ms=1000 * PATIENCE, **limits)  # ends what hangs, in threads too
    return Group(children, together=True, forgiving=True, budget=budget)


@settings(deadline=None, max_examples=150)
@given(trees)
def test_no_tree_spends_more_than_any_of_its_budgets_allows(tree: Tree) -> None:
    meter = carried_out(envelope(tree, tree, usd=0.1, tokens=1200))
    assert meter.overdrawn == []


@settings(deadline=None, max_examples=100)
@given(trees)
def test_every_reservation_is_settled_at_the_end(tree: Tree) -> None:
    assert_settled(carried_out(envelope(tree, tree, usd=0.03)))


def assert_settled(meter: Meter) -> None:
    for ledger in meter.ledgers:
        assert ledger._reserved == Amount()
        assert ledger._open == 0
        assert ledger._tree.waiters == []


def test_a_cancellation_at_any_turn_of_the_loop_leaves_nothing_reserved() -> None:
    leaf = Leaf(output=MOST, turns=1, end="answer", budget=None)
    race_of_two = FanOut((leaf, leaf), need="first", limit=None)
    for after in range(150):  # a reply or reservation takes 32 turns to come
        meter = carried_out(envelope(Cancelled(race_of_two, after), usd=0.015))
        assert_settled(meter)
        assert meter.overdrawn == []


@settings(deadline=None, max_examples=100)
@given(st.lists(leaves, min_size=1, max_size=8))
def test_what_fits_in_its_worst_case_is_always_sent(calls: list[Leaf]) -> None:
    free = [Leaf(call.output, call.turns, call.end, None) for call in calls]
    meter = carried_out(envelope(*free, tokens=len(calls) * (MOST + INPUT)))
    assert meter.sent == len(calls)


@settings(deadline=None, max_examples=100)
@given(st.lists(leaves, min_size=1, max_size=8), st.permutations(range(8)))
def test_timing_does_not_decide_which_calls_are_sent(calls: list[Leaf], turns: list[int]) -> None:
    slow = [Leaf(c.output, turn, "answer", None) for c, turn in zip(calls, turns, strict=False)]
    quick = [Leaf(c.output, 0, "answer", None) for c in calls]
    limits = {"tokens": len(calls) * 80}
    assert (
        carried_out(envelope(*slow, **limits)).sent == carried_out(envelope(*quick, **limits)).sent
    )
