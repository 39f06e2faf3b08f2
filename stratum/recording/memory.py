"""A client that remembers settled answers, for `cache="session"` and `cache="global"`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from stratum.calls import CacheScope, Client, Quote, Reply, Request, Settling
from stratum.recording.pending import DiskMemory
from stratum.scope import Inside, process, secrets, settings


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
            return Quote(0, 0.0, 0.0)
        return await self._inner.quote(request)

    def settled(self, requests: Sequence[Request], ok: bool) -> None:
        if isinstance(self._inner, Settling):
            self._inner.settled(requests, ok)
        hidden = secrets()
        for request in requests if ok else ():
            reply = self._replies.get(request.key)
            if reply is not None and reply.outcome == "answered":
                self._memory.put(request.key, replace(reply, data=hidden.redact_data(reply.data)))


def remembering(client: Client, inside: Inside, cache: CacheScope) -> Client:
    """Put the memory that a function asked for around its client.

    A root with a client of its own, as record and replay set it, remembers by itself: what
    a developer's disk holds must not answer there. Scripted answers never reach the disk.
    """
    if cache == "none" or inside.root.client is not None:
        return client
    if cache == "global" and getattr(client, "live", True):
        if process.disk_memory is None:
            process.disk_memory = DiskMemory(settings())
        return RememberingClient(process.disk_memory, client)
    memory = inside.root.memory if process.root is not None else process.memory
    return RememberingClient(SessionMemory(memory), client)
