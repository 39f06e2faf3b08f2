"""Answer from a script, for unit tests."""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from stratum.calls import Quote, Reply, Request, Usage
from stratum.errors import ConfigurationError
from stratum.values import maker

_reply = maker(Reply)

_DATA = frozenset({dict, list, str, int, float, bool})  # which nobody awaits


@dataclass(frozen=True, slots=True)
class Scripted:
    """One scripted answer: JSON data or a text, after `delay` seconds.

    `tokens` are (input, output), `cost` is US dollars; None takes those of the client.
    """

    data: Any = None
    delay: float = 0.0
    tokens: tuple[int, int] | None = None
    cost: float | None = None


class ScriptedClient:
    """A client that answers from a list, in the order asked, or through a function.

    Each entry is JSON data, a `Scripted`, a `Reply`, or an exception to raise; a function
    gets the `Request` and may be async. `price` is (input, output) US dollars per million
    tokens, and 0 unless a test of budgets says otherwise. `requests` holds what was asked.

    >>> ScriptedClient([{"label": "positive"}]).requests
    []
    """

    live = False

    def __init__(
        self,
        script: Iterable[Any] | Callable[[Request], Any],
        *,
        tokens: tuple[int, int] = (0, 0),
        price: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        if isinstance(script, (str, bytes, Mapping)):
            raise ConfigurationError(
                f"ScriptedClient({script!r}): a script is a list of answers, or a function.\n"
                "  Put a single answer into a list."
            )
        self.requests: list[Request] = []
        self._function = script if callable(script) else None
        self.waits: bool = callable(script)  # a function may wait
        self._rest = iter(()) if callable(script) else iter(script)
        self._usage = Usage(*tokens)
        self._price = price
        self._cost = self._cost_of(self._usage)

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        answer = self._next(request) if self._function is None else self._function(request)
        if type(answer) not in _DATA and inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Scripted):
            await asyncio.sleep(answer.delay)
            usage = Usage(*answer.tokens) if answer.tokens else self._usage
            cost = self._cost_of(usage) if answer.cost is None else answer.cost
            return _reply(answer.data, usage, request.model, "scripted", "answered", cost)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Reply):
            return replace(answer, origin="scripted")
        return _reply(answer, self._usage, request.model, "scripted", "answered", self._cost)

    async def quote(self, request: Request) -> Quote:
        return Quote(self._usage.input, *self._price)

    def _next(self, request: Request) -> Any:
        for answer in self._rest:
            return answer
        raise ConfigurationError(
            f"{request.site.function}: the script has no answer left for call "
            f"{len(self.requests)}.\n  Add one to ScriptedClient([...]), or pass a function."
        )

    def _cost_of(self, usage: Usage) -> float:
        return (usage.input * self._price[0] + usage.output * self._price[1]) / 1_000_000
