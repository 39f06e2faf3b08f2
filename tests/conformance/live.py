"""Live clients that are no network: what they answer is recorded."""

import asyncio
from collections.abc import Callable
from typing import Any

from stratum import Quote, Reply, Request, Usage


class Live:
    """Answers through a function of the request, after a delay; `asked` holds the requests."""

    def __init__(self, answer: Callable[[Request], Any], *, delay: float = 0.0) -> None:
        self.asked: list[Request] = []
        self._answer = answer
        self._delay = delay

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        await asyncio.sleep(self._delay)
        return Reply(self._answer(request), Usage(10, 5), "live", cost=0.001)

    async def quote(self, request: Request) -> Quote:
        return Quote(10, 1.0, 1.0)
