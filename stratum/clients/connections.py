"""End what litellm keeps for an event loop: connections with the loop, its task with the next."""

import asyncio
import importlib
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from stratum.scope import process


async def close_with_loop(litellm: Any) -> None:
    """Let litellm's connections of the running loop be closed when the loop is.

    litellm keeps a client for each loop, and forgets the oldest after 200 of them, or an
    hour. Its connections are then found unclosed by the garbage collector, which warns in
    whatever test happens to run. `asyncio.run` and the plugins of pytest close the generators
    of a loop before the loop itself, so a generator is what waits here.
    """
    loop = asyncio.get_running_loop()
    if loop in process.closing:
        return
    for other in tuple(process.closing):
        if other.is_closed():
            process.closing.pop(other, None)
    closing = process.closing[loop] = _close_at_end(litellm)
    await anext(closing)


def end_task_elsewhere() -> None:
    """Cancel the task that litellm logs with on another loop, which it is about to forget there.

    It has one for the process, and starts it anew on the loop that called last. Python warns of
    a task that is forgotten.
    """
    worker = importlib.import_module("litellm.litellm_core_utils.logging_worker")
    task: asyncio.Task[None] | None = getattr(worker.GLOBAL_LOGGING_WORKER, "_worker_task", None)
    if task is None or task.done() or task.get_loop() is asyncio.get_running_loop():
        return
    with suppress(RuntimeError):  # that loop is closed, and has ended its tasks
        task.get_loop().call_soon_threadsafe(task.cancel)


async def close_connections(litellm: Any) -> None:
    """Close the connections that litellm keeps for the running loop, and let it forget them."""
    cache = litellm.in_memory_llm_clients_cache
    loop = f"-{id(asyncio.get_running_loop())}"
    for key, kept in tuple(cache.cache_dict.items()):
        if key.endswith(loop):
            cache.delete_cache(key)
            await _close(kept)


async def _close_at_end(litellm: Any) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        process.closing.pop(asyncio.get_running_loop(), None)
        await close_connections(litellm)


async def _close(kept: Any) -> None:
    """Close a client of a provider's library, or of litellm's own."""
    client: Any = getattr(kept, "_client", None) or getattr(kept, "client", None)
    with suppress(Exception):  # a connection that is gone already has nobody to tell
        if hasattr(client, "aclose"):
            await client.aclose()
        elif client is not None:  # that of a synchronous call made in a coroutine
            client.close()
