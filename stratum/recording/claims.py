"""Let the workers of one record run ask each call once."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from stratum.calls import Request
from stratum.errors import CacheUnusable, RecordingError
from stratum.recording.lease import is_held
from stratum.recording.patience import PatientCache
from stratum.recording.renewing import spot

WAIT = 0.02  # seconds between two looks at what another worker claimed


class Claims:
    """Who asks which call of a run; what one worker recorded, the others take over.

    A claim is a row of the cache: first the worker's id, then the recorded entry. A worker
    that is no more loses its claims.
    """

    def __init__(self, cache: PatientCache, runs: Path, run: str, worker: str) -> None:
        self._cache = cache
        self._runs = runs
        self._run = run
        self._worker = worker
        self._lock = threading.Lock()
        self._waiting: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}

    async def take(self, request: Request) -> dict[str, Any] | None:
        """Return None when the call is this worker's to ask, else the entry of who asked it.

        Waits while another worker is asking. Raises `CacheUnusable` before anything is paid for
        if the disk would not keep the reply.
        """
        row = self._row(request)
        while not self._cache.disk.add(row, {"worker": self._worker}):
            claim = self._cache.get(row).value
            if claim is None or self._is_abandoned(claim):
                self._cache.disk.delete(row)
                continue
            if "entry" in claim:
                entry: dict[str, Any] = claim["entry"]
                return entry
            await self.news_of(row)
        return None

    def gate(self, request: Request) -> "Gate":
        """Return the gate of a fan-out that begins with a request."""
        return Gate(self, f"claim:{self._run}:gate:{request.key}@{spot(request)}")

    async def go_through(self, gate: str) -> None:
        """Wait until no other worker is behind a gate."""
        while not self._cache.disk.add(gate, {"worker": self._worker}):
            claim = self._cache.get(gate).value
            if claim is not None and claim["worker"] == self._worker:
                return
            if claim is None or self._is_abandoned(claim):
                self._cache.disk.delete(gate)
                continue
            await asyncio.sleep(WAIT)

    def leave(self, gate: str) -> None:
        """Open a gate to other workers, if it is this one's."""
        with suppress(CacheUnusable):
            claim = self._cache.get(gate).value
            if claim is not None and claim["worker"] == self._worker:
                self._cache.disk.delete(gate)

    def share(self, request: Request, entry: dict[str, Any]) -> None:
        """Give the entry of a claimed call to the other workers."""
        row = self._row(request)
        self._cache.put(row, {"worker": self._worker, "entry": entry})
        self.wake(row)

    def release(self, request: Request) -> None:
        """Give a claim back: the call got no answer that others could use."""
        row = self._row(request)
        with suppress(CacheUnusable):  # then it ends with this worker
            self._cache.disk.delete(row)
        self.wake(row)

    def forget(self) -> None:
        """Remove the claims of this run, and of runs that are no more."""
        with suppress(CacheUnusable):
            for row in self._cache.disk.keys("claim:"):
                run = row.split(":")[1]
                if run == self._run or not self._lives(run):
                    self._cache.disk.delete(row)

    async def news_of(self, row: str) -> None:
        """Wait for a moment, or until this worker changes the row: its own tasks know at once."""
        changed = asyncio.Event()
        waiting = asyncio.get_running_loop(), changed
        with self._lock:
            self._waiting.setdefault(row, set()).add(waiting)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT):
                    await changed.wait()
        finally:
            with self._lock:
                self._waiting[row].discard(waiting)
                if not self._waiting[row]:
                    del self._waiting[row]

    def wake(self, row: str) -> None:
        with self._lock:
            woken = tuple(self._waiting.get(row, ()))
        for loop, changed in woken:
            with suppress(RuntimeError):  # its loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(changed.set)

    def _lives(self, run: str) -> bool:
        try:
            return is_held(self._runs, run)
        except RecordingError:  # a claim that is not ours
            return False

    def _is_abandoned(self, claim: dict[str, Any]) -> bool:
        asking = "entry" not in claim and claim["worker"] != self._worker
        return asking and not is_held(self._runs, claim["worker"])

    def _row(self, request: Request) -> str:
        return f"claim:{self._run}:{request.key}@{spot(request)}"


class Gate:
    """What one worker at a time goes through with all calls of one fan-out."""

    def __init__(self, claims: Claims, name: str) -> None:
        self._claims = claims
        self._name = name
        self._lock = threading.Lock()
        self._is_open = False

    async def go_through(self) -> None:
        """Wait until no other worker is behind it; one call waits for all of the fan-out."""
        while not self._is_open:
            if not self._lock.acquire(blocking=False):
                await self._claims.news_of(self._name)
                continue
            try:
                await self._claims.go_through(self._name)
                self._is_open = True
            finally:
                self._lock.release()
                self._claims.wake(self._name)

    def close(self) -> None:
        """Let other workers through."""
        self._claims.leave(self._name)
