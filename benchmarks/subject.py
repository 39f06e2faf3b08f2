"""The call that is measured, and a recording of it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from stratum import ScriptedClient, infer
from stratum.clocks import FixedClock
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.roots import Root
from stratum.scope import rooted
from stratum.settings import Settings

MODEL = "openai/stratum-local-rules"
INTENT = "Classify the tone"
CALLS = 100  # of different texts in one round
TEXTS = [f"{number:03} " + "I love the new dashboard. " * 80 for number in range(CALLS)]  # 2 KB
ANSWER = {"label": "positive", "confidence": 0.9, "reasoning": "it says love"}


class Sentiment(BaseModel):
    label: Literal["positive", "negative", "neutral"]
    confidence: float
    reasoning: str


@infer(intent=INTENT, model=MODEL, ensure=lambda r: r.confidence > 0.1)
def classify(text: str) -> Sentiment: ...


def record(folder: Path) -> Settings:
    """Record one call of each text; returns the settings of the project that holds them."""
    settings = Settings(root=folder)
    store = GoldenStore(settings)
    root = Root("recording", clock=FixedClock(settings.now))
    root.client = RecordingClient(store, ScriptedClient(lambda request: ANSWER))
    with rooted(root):
        for text in TEXTS:
            classify.run(text=text)
    store.passed(root)
    store.write(complete=True)
    return settings


class Replay:
    """A session that replays: a store for all, a root for each test, as the plugin does it."""

    def __init__(self, settings: Settings) -> None:
        self._clock = FixedClock(settings.now)
        self._client = RecordingClient(GoldenStore(settings))

    def awaited(self, runner: asyncio.Runner) -> None:
        async def calls() -> None:
            for text in TEXTS:
                await classify(text=text)

        with self._root():
            runner.run(calls())

    def synchronous(self) -> None:
        with self._root():
            for text in TEXTS:
                classify.run(text=text)

    @contextmanager
    def _root(self) -> Iterator[None]:
        with rooted(Root("a test", clock=self._clock, client=self._client)):
            yield


_SERVER = f"""
import sys
from stratum.testing.local_model import LocalModel
with LocalModel(answer=lambda body: {ANSWER!r}) as model:
    print(model.base_url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def local_model() -> Iterator[str]:
    """Run the local model in a process of its own; gives its address on 127.0.0.1."""
    command = [sys.executable, "-c", _SERVER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()
            server.wait()
