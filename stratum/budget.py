"""Hold calls to declared limits of money, tokens and time."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from dataclasses import field
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Literal

from stratum.errors import BudgetExceeded
from stratum.time_limits import TimeLimit, WhenCalm, at_once
from stratum.values import dataclass

UNLIMITED = Decimal("Infinity")


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits for a call, with all its attempts, or for a flow, with all its calls.

    `ms` is wall-clock milliseconds, `usd` US dollars, `tokens` input plus output tokens;
    None is no limit. A usd limit needs a known price: `on_unpriced="warn"` goes on without.

    >>> Budget(ms=500, usd=0.001)
    Budget(ms=500, usd=0.001, tokens=None, on_unpriced='error')
    """

    ms: float | None = None
    usd: float | None = None
    tokens: int | None = None
    on_unpriced: Literal["error", "warn"] = "error"

    def __post_init__(self) -> None:
        for name in ("ms", "usd", "tokens"):
            _check_limit(name, getattr(self, name))
        if isinstance(self.tokens, float):
            raise ValueError(f"Budget(tokens=...) takes a whole number, not {self.tokens!r}")
        if self.on_unpriced not in ("error", "warn"):
            raise ValueError(f'on_unpriced is "error" or "warn", not {self.on_unpriced!r}')


def _check_limit(name: str, limit: Any) -> None:
    if limit is None:
        return
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 0:
        raise ValueError(f"Budget({name}=...) takes a number of at least 0 or None, not {limit!r}")


class Amount:
    """Money and tokens; written by hand, for one is made when this is imported."""

    __slots__ = ("tokens", "usd")

    def __init__(self, usd: Decimal = Decimal(0), tokens: int = 0) -> None:
        self.usd: Decimal = usd
        self.tokens: int = tokens

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Amount):
            return NotImplemented
        return (self.usd, self.tokens) == (other.usd, other.tokens)

    def __hash__(self) -> int:
        return hash((self.usd, self.tokens))

    def __repr__(self) -> str:
        return f"Amount(usd={self.usd!r}, tokens={self.tokens})"

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.usd + other.usd, self.tokens + other.tokens)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.usd - other.usd, self.tokens - other.tokens)

    def __mul__(self, times: int) -> "Amount":
        return Amount(self.usd * times, self.tokens * times)


NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Estimate:
    """The worst case of one call: a fixed part, and a part for each output token.

    `most` is the declared number of output tokens, `least` what the contract's smallest
    answer needs; a reservation lies between the two.
    """

    who: str
    fixed: Amount
    each: Amount
    most: int
    least: int

    def cost(self, output: int) -> Amount:
        return self.fixed + self.each * output


class Reservation:
    """Money and tokens set aside for one call; `cap` is the output that fits, when not all does."""

    def __init__(self, ledger: "Ledger", cap: int | None, amount: Amount) -> None:
        self.cap = cap
        self._ledger = ledger
        self._amount = amount
        self._open = True

    def settle(self, actual: Amount | None = None) -> None:
        """Book what the call really used; None books all of it. Later ones do nothing."""
        with self._ledger._tree.lock:
            was_open, self._open = self._open, False
            if was_open:
                self._ledger._settle(self._amount, self._amount if actual is None else actual)


@dataclass(eq=False, slots=True)
class Waiter:
    """A reservation that waits for others to settle."""

    ledger: "Ledger"
    estimate: Estimate
    order: tuple[Any, ...]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[None] | None" = None
    verdict: Reservation | BudgetExceeded | None = None

    @property
    def is_contended(self) -> bool:
        """Say whether the budget has no room for all of it now."""
        return not isinstance(self.verdict, Reservation) or self.verdict.cap is not None

    def decide(self, verdict: Reservation | BudgetExceeded) -> None:
        self.verdict = verdict
        if self.future is None:
            return
        try:
            self.loop.call_soon_threadsafe(_wake, self.future)
        except RuntimeError:  # the waiter's loop is closed: nobody is there to spend it
            if isinstance(verdict, Reservation):
                verdict.settle(NOTHING)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


@dataclass(slots=True)
class _Tree:
    """What all ledgers below one outermost ledger share."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    waiters: list[Waiter] = field(default_factory=list)
    arrivals: "itertools.count[int]" = field(default_factory=itertools.count)


class Ledger:
    """The running account of one budget, inside those of its parents (SPEC 6).

    A reservation counts in the ledger and in every parent. `time` is its limit of time.
    """

    def __init__(
        self,
        budget: Budget,
        name: str,
        parent: "Ledger | None" = None,
        *,
        only_while_asking: bool = False,
        when_calm: WhenCalm = at_once,
    ) -> None:
        self.budget = budget
        self.name = name
        self.parent = parent
        self.time: TimeLimit = TimeLimit(
            budget.ms,
            name,
            parent.time if parent else None,
            only_while_asking=only_while_asking,
            when_calm=when_calm,
        )
        self._limit = UNLIMITED if budget.usd is None else Decimal(str(budget.usd))
        self._spent = NOTHING
        self._reserved = NOTHING
        self._open = 0
        self._tree: _Tree = parent._tree if parent else _Tree()

    def chain(self) -> Iterator["Ledger"]:
        """Yield this ledger and its parents, innermost first."""
        ledger: Ledger | None = self
        while ledger is not None:
            yield ledger
            ledger = ledger.parent

    @property
    def needs_quote(self) -> bool:
        return any(each.usd is not None or each.tokens is not None for each in self._budgets())

    @property
    def needs_price(self) -> bool:
        return any(each.usd is not None for each in self._budgets())

    @property
    def tolerates_no_price(self) -> bool:
        return all(e.on_unpriced == "warn" for e in self._budgets() if e.usd is not None)

    def _budgets(self) -> Iterator[Budget]:
        return (ledger.budget for ledger in self.chain())

    @property
    def spent(self) -> Amount:
        return self._spent

    async def reserve(self, estimate: Estimate, order: tuple[Any, ...]) -> Reservation:
        """Set the worst case aside, waiting while reservations of others may still return some.

        Raises `BudgetExceeded` when even `estimate.least` does not fit with nothing open.
        Waiting reservations are served in the order of `order`.
        """
        return await self.granted(self.ask(estimate, order, asyncio.get_running_loop()))

    def ask(
        self, estimate: Estimate, order: tuple[Any, ...], loop: asyncio.AbstractEventLoop
    ) -> "Waiter":
        """Ask for a reservation on behalf of a task on `loop`, which awaits `granted`."""
        from bisect import insort  # only calls under a budget need it

        with self._tree.lock:
            key = (*order, next(self._tree.arrivals))
            waiter = Waiter(self, estimate, key, loop)
            insort(self._tree.waiters, waiter, key=lambda w: w.order)
            _serve(self._tree)
            if waiter.verdict is None:
                waiter.future = loop.create_future()
        return waiter

    async def granted(self, waiter: "Waiter") -> Reservation:
        """Wait for what was asked; raises `BudgetExceeded` when it is refused."""
        if waiter.future is not None:
            await self._wait(waiter, waiter.future)
        if isinstance(waiter.verdict, BudgetExceeded):
            raise waiter.verdict
        assert waiter.verdict is not None
        return waiter.verdict

    def withdraw(self, waiter: "Waiter") -> None:
        """Give back what was asked for a task that was cancelled."""
        with self._tree.lock:
            if waiter in self._tree.waiters:
                self._tree.waiters.remove(waiter)
            if isinstance(waiter.verdict, Reservation):
                waiter.verdict.settle(NOTHING)
            _serve(self._tree)

    async def _wait(self, waiter: Waiter, future: "asyncio.Future[None]") -> None:
        try:
            await future
        except BaseException:  # cancelled, or closed with its loop
            self.withdraw(waiter)
            raise

    def _settle(self, reserved: Amount, actual: Amount) -> None:
        with self._tree.lock:
            for ledger in self.chain():
                ledger._reserved -= reserved
                ledger._spent += actual
                ledger._open -= 1
            _serve(self._tree)

    def _left(self) -> tuple[Decimal, Decimal]:
        used = self._spent + self._reserved
        tokens = self.budget.tokens
        return (
            self._limit - used.usd,
            UNLIMITED if tokens is None else Decimal(tokens - used.tokens),
        )

    def _room(self, estimate: Estimate) -> Decimal:
        """Return how many output tokens fit into what is left."""
        usd, tokens = self._left()
        return min(
            _times(usd - estimate.fixed.usd, estimate.each.usd),
            _times(tokens - estimate.fixed.tokens, Decimal(estimate.each.tokens)),
        )

    def _refusal(self, estimate: Estimate) -> BudgetExceeded:
        usd, tokens = self._left()
        least = estimate.cost(estimate.least)
        if least.usd > usd:
            text = (
                f"{estimate.who} would cost at least {_usd(least.usd)} in the worst case; "
                f"{_usd(max(usd, Decimal(0)))} of {_usd(self._limit)} is left ({self.name})."
            )
            return BudgetExceeded(f"{text}\n{_REMEDY}", limit="usd")
        text = (
            f"{estimate.who} would use at least {least.tokens:,} tokens in the worst case; "
            f"{int(max(tokens, Decimal(0))):,} of {self.budget.tokens:,} are left ({self.name})."
        )
        return BudgetExceeded(f"{text}\n{_REMEDY}", limit="tokens")


_REMEDY = "  Raise the budget, lower max_tokens, or pick a cheaper model."


def _usd(amount: Decimal) -> str:
    return f"${amount:.4f}" if amount >= Decimal("0.0001") or not amount else f"${amount:.2g}"


def _times(left: Decimal, each: Decimal) -> Decimal:
    if left < 0:
        return Decimal(-1)
    if not each:
        return UNLIMITED
    return left if left.is_infinite() else (left / each).to_integral_value(ROUND_FLOOR)


def _serve(tree: _Tree) -> None:
    """Decide every waiting reservation that can be decided now, in order.

    One that must go on waiting holds back those behind it that need the same ledger.
    """
    held: set[Ledger] = set()
    for waiter in list(tree.waiters):
        if waiter.verdict is not None:  # decided meanwhile, by a settlement that this one caused
            continue
        chain = list(waiter.ledger.chain())
        if chain[-1] in held:
            return
        if held.intersection(chain):
            continue
        verdict = _decide(waiter, chain)
        if isinstance(verdict, set):
            held |= verdict
        else:
            tree.waiters.remove(waiter)
            waiter.decide(verdict)


def _decide(waiter: Waiter, chain: list[Ledger]) -> Reservation | BudgetExceeded | set[Ledger]:
    """Return the reservation, the refusal, or the ledgers that have to be waited for."""
    estimate = waiter.estimate
    output = Decimal(estimate.most)
    for ledger in chain:
        if not ledger._open:
            output = min(output, ledger._room(estimate))
        if output < estimate.least:
            return ledger._refusal(estimate)
    short = {ledger for ledger in chain if ledger._room(estimate) < output}
    if short:
        return short
    cap = int(output) if output < estimate.most else None
    return _grant(waiter.ledger, chain, cap, estimate.cost(int(output)))


def _grant(ledger: Ledger, chain: list[Ledger], cap: int | None, amount: Amount) -> Reservation:
    for each in chain:
        each._reserved += amount
        each._open += 1
    return Reservation(ledger, cap, amount)
