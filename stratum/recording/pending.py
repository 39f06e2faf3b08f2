"""Live replies as they arrive, so that each is paid for once even if the run dies."""

from dataclasses import replace
from typing import Any, Self

from stratum.calls import Reply, Request, Usage
from stratum.recording.ages import oldest_day, today
from stratum.recording.disk import DiskCache
from stratum.recording.lease import Lease, is_held
from stratum.settings import Settings


class Pending:
    """The replies of record runs in the disk cache, by key and place.

    Served are replies of calls that settled well, and those that a run which is no more
    left behind; never errors and refusals, nor what is older than `max_age`.
    """

    def __init__(self, settings: Settings, run: str, *, reuse: bool = True) -> None:
        folder = settings.state_folder
        self.cache = DiskCache(folder / "cache")
        self._runs = folder / "runs"
        self._lease = Lease(self._runs, run)
        self._run = run
        self._reuse = reuse
        self._oldest = oldest_day(settings) or ""
        self.reasons: list[str] = []

    def __enter__(self) -> Self:
        self._lease.take()
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.release()
        self.cache.close()

    def find(self, request: Request) -> Reply | None:
        if not self._reuse:
            return None
        row = self.cache.get(_row(request))
        if row.reason:
            self.reasons.append(row.reason)
        value = row.value
        if value is None or not self._may_serve(value):
            return None
        return replace(_reply(value), origin="cached")

    def _may_serve(self, value: dict[str, Any]) -> bool:
        if str(value.get("day", "")) < self._oldest:
            return False
        if value["state"] == "pending":
            return value["run"] != self._run and not is_held(self._runs, value["run"])
        return bool(value["state"] == "settled")

    def keep(self, request: Request, reply: Reply) -> None:
        if reply.outcome == "answered":
            about = {"run": self._run, "state": "pending", "day": today()}
            self.cache.put(_row(request), {**_data(reply), **about})

    def settle(self, request: Request, *, ok: bool) -> None:
        row = _row(request)
        value = self.cache.get(row).value
        if value is not None and value["run"] == self._run:
            self.cache.put(row, {**value, "state": "settled" if ok else "rejected"})


class DiskMemory:
    """Settled replies of production calls with `cache="global"`, by key."""

    def __init__(self, settings: Settings) -> None:
        self._cache = DiskCache(settings.state_folder / "cache")

    def get(self, key: str) -> Reply | None:
        value = self._cache.get(f"answer:{key}").value
        return None if value is None else replace(_reply(value), origin="cached")

    def put(self, key: str, reply: Reply) -> None:
        self._cache.put(f"answer:{key}", _data(reply))


def _row(request: Request) -> str:
    return f"reply:{request.key}@{'-' if request.place is None else request.place}"


def _data(reply: Reply) -> dict[str, Any]:
    return {
        "data": reply.data,
        "tokens": [reply.usage.input, reply.usage.output],
        "model": reply.model,
        "cost": reply.cost,
        "wire": dict(reply.wire),
    }


def _reply(value: dict[str, Any]) -> Reply:
    usage = Usage(*value["tokens"])
    return Reply(value["data"], usage, value["model"], cost=value["cost"], wire=value["wire"])
