"""Random trees of flows and calls, cancelled and failing too, spend no more than allowed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
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
    flow,
    infer,
    parallel,
    using,
)
from stratum.budget import Amount, Ledger
from stratum.scope import current

MOST, INPUT = 100, 10  # output and input tokens of each call at most
PRICE = 100.0  # dollars per million tokens
EACH = Decimal("0.0001")


@dataclass(frozen=True)
class Leaf:
    """A call: the output it wants, the turns of the loop it takes, and how it ends."""

    output: int
    turns: int
    end: Literal["answer", "fail", "fail billed", "unknown usage"]
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


Tree: TypeAlias = Leaf | Group | Cancelled

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
trees = st.recursive(
    leaves,
    lambda inner: (
        st.builds(
            Group,
            children=st.lists(inner, min_size=1, max_size=6).map(tuple),
            together=st.booleans(),
            forgiving=st.booleans(),
            budget=budgets,
        )
        | st.builds(Cancelled, child=inner, after=st.integers(0, 12))
    ),
    max_leaves=25,
)


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

    async def quote(self, request: Request) -> Quote:
        return Quote(INPUT, PRICE, PRICE)

    async def complete(self, request: Request) -> Reply:
        leaf, open_accounts = leaves_by_request.get(), accounts.get()
        self.sent += 1
        ledger = current().ledger
        self.ledgers |= set(ledger.chain() if ledger else ())
        most = MOST if request.cap is None else request.cap
        self._take(open_accounts, INPUT + most)
        for _ in range(leaf.turns):
            await asyncio.sleep(0)
        if leaf.end == "fail":
            self._take(open_accounts, -INPUT - most)
        if leaf.end.startswith("fail"):
            raise ProviderError("down", billed=leaf.end == "fail billed")
        if leaf.end == "unknown usage":
            return Reply("ok", origin="scripted")
        output = min(leaf.output, most)
        self._take(open_accounts, output - most)
        return Reply("ok", Usage(INPUT, output), origin="scripted")

    def _take(self, open_accounts: tuple[Account, ...], tokens: int) -> None:
        for account in open_accounts:
            if not account.take(tokens):
                self.overdrawn.append(f"{account.tokens} tokens of {account.budget}")


leaves_by_request: ContextVar[Leaf] = ContextVar("leaf")


@infer(intent="Say it", model="test/model", max_tokens=MOST)
def say() -> str: ...


async def perform(tree: Tree) -> None:
    match tree:
        case Leaf(budget=budget):
            leaves_by_request.set(tree)
            with accounted(budget):
                await (say if budget is None else say.with_(budget=budget))()
        case Cancelled(child, after):
            await cancelled(child, after)
        case Group(budget=budget):
            with accounted(budget):
                await (group if budget is None else group.with_(budget=budget))(tree)


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
        await asyncio.wait([task])


def carried_out(tree: Tree) -> Meter:
    """Carry out a tree to its end, and return the books."""

    async def run() -> None:
        async with asyncio.timeout(10):
            await forgiven(tree)

    meter = Meter()
    with using(client=meter):
        asyncio.run(run())
    return meter


def envelope(*children: Tree, **limits: Any) -> Group:
    return Group(children, together=True, forgiving=True, budget=Budget(**limits))


@settings(deadline=None, max_examples=250)
@given(trees)
def test_no_tree_spends_more_than_any_of_its_budgets_allows(tree: Tree) -> None:
    meter = carried_out(envelope(tree, tree, usd=0.06, tokens=700))
    assert meter.overdrawn == []


@settings(deadline=None, max_examples=150)
@given(trees)
def test_every_reservation_is_settled_at_the_end(tree: Tree) -> None:
    meter = carried_out(envelope(tree, tree, usd=0.03))
    for ledger in meter.ledgers:
        assert ledger._reserved == Amount()
        assert ledger._open == 0
        assert ledger._tree.waiters == []


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
