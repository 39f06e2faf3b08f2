"""A client that remembers settled answers, for `cache="session"` and `cache="global"`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from stratum.calls import CacheScope, Client, Quote, Reply, Request, Settling
from stratum.errors import RecordingError, StratumWarning
from stratum.roots import Inside
from stratum.scope import process, secrets, settings


class Memory(Protocol):
    """Where answers are kept by key."""

    def get(self, key: str) -> Reply | None: ...

    def put(self, key: str, reply: Reply) -> None: ...


class SessionMemory:
    """Answers kept in a dictionary."""

    def __init__(self, replies: dict[str, Reply]) -> None:
        self._replies = replies

    def get(self, key: str) -> Reply | None:
        found = self._replies.get(key)
        return None if found is None else replace(found, origin="cached")

    def put(self, key: str, reply: Reply) -> None:
        self._replies[key] = reply


class RememberingClient:
    """Answers from memory what settled well before; everything else is asked of `inner`."""

    def __init__(self, memory: Memory, inner: Client) -> None:
        self._memory = memory
        self._inner = inner
        self._replies: dict[str, Reply] = {}

    async def complete(self, request: Request) -> Reply:
        found = self._memory.get(request.key)
        if found is not None:
            return found
        reply = await self._inner.complete(request)
        self._replies[request.key] = reply
        return reply

    async def quote(self, request: Request) -> Quote:
        """Quote nothing for what is remembered: it costs nothing."""
        if self._memory.get(request.key) is not None:
            return Quote(0, 0.0, 0.0, free=True)
        return await self._inner.quote(request)

    def settled(self, requests: Sequence[Request], ok: bool) -> None:
        if isinstance(self._inner, Settling):
            self._inner.settled(requests, ok)
        hidden = secrets()
        for request in requests if ok else ():
            reply = self._replies.get(request.key)
            if reply is not None:
                self._keep(request, replace(reply, data=hidden.redact_data(reply.data)))

    def _keep(self, request: Request, reply: Reply) -> None:
        """Remember an answer; one that is paid for is not lost to a disk that is full."""
        try:
            self._memory.put(request.key, reply)
        except RecordingError as error:
            text = f"{request.site.function}: its answer is not remembered. {error}"
            request.site.warn(text, StratumWarning)


def remembering(client: Client, inside: Inside, cache: CacheScope) -> Client:
    """Put the memory that a function asked for around its client."""
    memory = memory_for(client, inside, cache)
    return client if memory is None else RememberingClient(memory, client)


def memory_for(client: Client, inside: Inside, cache: CacheScope) -> Memory | None:
    """Return the memory that a function asked for.

    A root with a client of its own, as record and replay set it, remembers by itself: what
    a developer's disk holds must not answer there. Scripted answers never reach the disk.
    """
    if cache == "none":
        return None
    live = getattr(client, "live", True)
    if live and inside.root.client is not None:
        return None
    if cache == "global" and live:
        if process.disk_memory is None:
            from stratum.recording.pending import DiskMemory

            process.disk_memory = DiskMemory(settings())
        memory: Memory = process.disk_memory
        return memory
    return SessionMemory(inside.root.memory if process.root is not None else process.memory)
