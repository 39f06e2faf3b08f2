"""Let the workers of one record run ask each call once."""

import asyncio
from pathlib import Path
from typing import Any

from stratum.calls import Request
from stratum.recording.disk import DiskCache
from stratum.recording.lease import is_held
from stratum.recording.renewing import spot

WAIT = 0.02  # seconds between two looks at what another worker claimed


class Claims:
    """Who asks which call of a run; what one worker recorded, the others take over.

    A claim is a row of the cache: first the worker's id, then the recorded entry. A worker
    that is no more loses its claims.
    """

    def __init__(self, cache: DiskCache, runs: Path, run: str, worker: str) -> None:
        self._cache = cache
        self._runs = runs
        self._run = run
        self._worker = worker

    async def take(self, request: Request) -> dict[str, Any] | None:
        """Return None when the call is this worker's to ask, else the entry of who asked it.

        Waits while another worker is asking.
        """
        row = self._row(request)
        while not self._cache.add(row, {"worker": self._worker}):
            claim = self._cache.get(row).value
            if claim is None or self._is_abandoned(claim):
                self._cache.delete(row)
                continue
            if "entry" in claim:
                entry: dict[str, Any] = claim["entry"]
                return entry
            await asyncio.sleep(WAIT)
        return None

    def share(self, request: Request, entry: dict[str, Any]) -> None:
        """Give the entry of a claimed call to the other workers."""
        self._cache.put(self._row(request), {"worker": self._worker, "entry": entry})

    def release(self, request: Request) -> None:
        """Give a claim back: the call got no answer that others could use."""
        self._cache.delete(self._row(request))

    def forget(self) -> None:
        """Remove the claims of this run, and of runs that are no more."""
        for row in self._cache.keys("claim:"):
            run = row.split(":")[1]
            if run == self._run or not is_held(self._runs, run):
                self._cache.delete(row)

    def _is_abandoned(self, claim: dict[str, Any]) -> bool:
        asking = "entry" not in claim and claim["worker"] != self._worker
        return asking and not is_held(self._runs, claim["worker"])

    def _row(self, request: Request) -> str:
        return f"claim:{self._run}:{request.key}@{spot(request)}"
