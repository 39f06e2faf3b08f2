"""Record a scenario against a model that answers at random, and replay it in shuffled order."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from stratum import Client, Quote, Reply, Request, Usage
from stratum.clocks import FixedClock
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.roots import Root
from stratum.scope import rooted
from stratum.settings import Settings
from stratum.trace import nested

Scenario = Callable[[], Awaitable[Any]]


class Shuffled(asyncio.SelectorEventLoop):
    """An event loop that runs what is ready in random order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def _run_once(self) -> None:
        ready = list(self._ready)  # type: ignore[has-type]
        self._random.shuffle(ready)
        self._ready = deque(ready)
        super()._run_once()  # type: ignore[misc]


class Whim:
    """A live client that answers at random, after a random time; `asked` counts its answers."""

    def __init__(self, seed: int, answer: Callable[[Request, random.Random], Any]) -> None:
        self._random = random.Random(seed)
        self._answer = answer
        self.sent = 0
        self.asked = 0

    async def complete(self, request: Request) -> Reply:
        self.sent += 1
        await asyncio.sleep(self._random.random() / 200)
        self.asked += 1
        return Reply(self._answer(request, self._random), Usage(10, 5), "whim", cost=0.001)

    async def quote(self, request: Request) -> Quote:
        return Quote(10, 1.0, 100.0)


class Ran(NamedTuple):
    """What a scenario came to: its value or error, and the tree of its records."""

    end: str
    tree: list[dict[str, Any]]


class Recorded:
    """A scenario that was recorded once, to be replayed any number of times."""

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        answer: Callable[[Request, random.Random], Any],
        *,
        seed: int,
    ) -> None:
        self._settings = Settings(root=folder, model="any/model")
        self._scenario = scenario
        self.whim = Whim(seed, answer)
        store = GoldenStore(self._settings)
        self.first = self._run(RecordingClient(store, self.whim), seed, store=store)
        self.unwritten = store.write(complete=True)

    def replay(self, seed: int) -> Ran:
        store = GoldenStore(self._settings)
        return self._run(RecordingClient(store), seed, store=store)

    def _run(self, client: Client, seed: int, *, store: GoldenStore) -> Ran:
        clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
        root = Root("test", clock=clock, client=client, model="any/model")
        with rooted(root), asyncio.Runner(loop_factory=lambda: Shuffled(seed)) as runner:
            end = runner.run(self._end())
        store.passed(root)
        assert not root.misses
        return Ran(end, nested(tuple(root.records)))

    async def _end(self) -> str:
        try:
            end = repr(await self._scenario())
        except Exception as error:
            end = f"{type(error).__name__}: {error}"
        others = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        assert not others, f"left running: {others}"
        return end
