"""Measure a replayed call, `@infer` over bare litellm, and the import.

    python benchmarks/core.py

Every figure is a median over rounds of one run; ratios compare within that run, because the
machine may be busy. CPU seconds are of the whole process.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from stratum import LiteLLMClient, ScriptedClient, infer, using
from stratum.clients.messages import messages
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.scope import FixedClock, Root, rooted
from stratum.settings import Settings
from stratum.testing.local_model import LocalModel

TEXT = "I love the new dashboard. " * 80  # about 2 KB
MODEL = "openai/stratum-local-rules"
BASELINE = "from pydantic import BaseModel, TypeAdapter; import asyncio, inspect"


class Sentiment(BaseModel):
    label: Literal["positive", "negative", "neutral"]
    confidence: float
    reasoning: str


@infer(intent="Classify the tone", model=MODEL, ensure=lambda r: r.confidence > 0.1)
def classify(text: str) -> Sentiment: ...


ANSWER = {"label": "positive", "confidence": 0.9, "reasoning": "it says love"}


def rounds(measure: Callable[[], float], times: int = 7) -> list[float]:
    return [measure() for _ in range(times)]


def microseconds(run: Callable[[int], None], calls: int) -> float:
    started = time.perf_counter()
    run(calls)
    return (time.perf_counter() - started) / calls * 1e6


def awaited(calls: int) -> None:
    async def main() -> None:
        for _ in range(calls):
            await classify(text=TEXT)

    asyncio.run(main())


def synchronous(calls: int) -> None:
    for _ in range(calls):
        classify.run(text=TEXT)


def recorded(folder: Path) -> Settings:
    """Record one call, and return the settings of the project that holds it."""
    settings = Settings(root=folder)
    store = GoldenStore(settings)
    live = ScriptedClient(lambda request: ANSWER)
    root = Root("benchmark", clock=FixedClock(settings.now, runs=False))
    root.client = RecordingClient(store, live)
    with rooted(root):
        classify.run(text=TEXT)
    store.passed(root)
    store.write(complete=False)
    return settings


def replayed(settings: Settings, run: Callable[[int], None], calls: int) -> float:
    """Replay one call over and over; every call has a root of its own, like a test."""
    client = RecordingClient(GoldenStore(settings))

    def each(number: int) -> None:
        root = Root("benchmark", clock=FixedClock(settings.now, runs=False), client=client)
        with rooted(root):
            for _ in range(number):
                root.handed.clear()
                run(1)

    return microseconds(each, calls)


def replayed_awaited(settings: Settings, calls: int) -> float:
    client = RecordingClient(GoldenStore(settings))
    root = Root("benchmark", clock=FixedClock(settings.now, runs=False), client=client)

    async def main() -> None:
        for _ in range(calls):
            root.handed.clear()
            await classify(text=TEXT)

    def run(_: int) -> None:
        with rooted(root):
            asyncio.run(main())

    return microseconds(run, calls)


def scripted(calls: int) -> float:
    with using(client=ScriptedClient(lambda request: ANSWER)):
        return microseconds(awaited, calls)


def cpu_over_http(ask: Callable[[], object], calls: int) -> float:
    """Return CPU seconds of `calls` live calls, the server's own process not counted."""
    started = time.process_time()
    for _ in range(calls):
        ask()
    return time.process_time() - started


def over_litellm(calls: int = 60) -> tuple[float, float]:
    """Return the CPU of bare `litellm.acompletion` and of `@infer` on top of it."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    with subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        os.environ |= {"OPENAI_API_BASE": url, "OPENAI_API_KEY": "local"}
        client = LiteLLMClient()
        try:
            return asyncio.run(_compare(client, litellm, calls))
        finally:
            server.terminate()


_SERVER = """
import threading
from stratum.testing.local_model import LocalModel
with LocalModel() as model:
    print(model.base_url, flush=True)
    threading.Event().wait()
"""


async def _compare(client: LiteLLMClient, litellm: object, calls: int) -> tuple[float, float]:
    request = classify._ask({"text": TEXT}).request
    loaded = await client._load()
    arguments, _ = client._arguments(request, loaded)
    arguments["messages"] = messages(request)

    async def bare() -> None:
        await litellm.acompletion(**arguments)  # type: ignore[attr-defined]

    async def typed() -> None:
        with using(client=client):
            await classify(text=TEXT)

    spent: dict[str, list[float]] = {"bare": [], "typed": []}
    for number in range(calls):
        for name, ask in (("bare", bare), ("typed", typed)):
            started = time.process_time()
            await ask()
            if number >= 5:  # the first calls build connections and caches
                spent[name].append(time.process_time() - started)
    return statistics.median(spent["bare"]), statistics.median(spent["typed"])


def import_seconds(statement: str) -> float:
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=environ)
    return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = recorded(Path(folder))
        per_call = statistics.median(rounds(lambda: replayed_awaited(settings, 2000)))
        per_run = statistics.median(rounds(lambda: replayed(settings, synchronous, 1000)))
    per_script = statistics.median(rounds(lambda: scripted(2000)))
    print(f"a replayed call of a 2 KB prompt, awaited    {per_call:8.1f} us")
    print(f"a replayed call of a 2 KB prompt, .run()     {per_run:8.1f} us")
    print(f"a scripted call of a 2 KB prompt, awaited    {per_script:8.1f} us")
    bare, typed = over_litellm()
    print(f"litellm.acompletion on loopback, CPU         {bare * 1000:8.2f} ms")
    print(f"@infer over it, CPU                          {typed * 1000:8.2f} ms  {typed / bare:.2f}x")
    import_seconds("import stratum")
    pairs = [(import_seconds(BASELINE), import_seconds("import stratum")) for _ in range(9)]
    base, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"import of pydantic, asyncio, inspect         {base * 1000:8.1f} ms")
    print(f"import stratum                               {ours * 1000:8.1f} ms  +{(ours - base) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
