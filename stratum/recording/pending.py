"""Live replies as they arrive, so that each is paid for once even if the run dies."""

from dataclasses import replace
from typing import Any, Self

from stratum.calls import Reply, Request, Usage
from stratum.errors import RecordingError
from stratum.recording.ages import oldest_day, today
from stratum.recording.disk import DiskCache
from stratum.recording.files import ignored
from stratum.recording.lease import Lease, is_held
from stratum.recording.patience import PatientCache
from stratum.recording.shapes import is_amount, is_count
from stratum.recording.sweeping import sweep
from stratum.settings import Settings


class Pending:
    """The replies of record runs in the disk cache, by key and place.

    Served are replies of calls that settled well, and those that a run which is no more
    left behind; never errors and refusals, nor what is older than `max_age`.
    """

    def __init__(self, settings: Settings, run: str, *, reuse: bool = True) -> None:
        folder = ignored(settings.state_folder)
        self._settings = settings
        self.cache: PatientCache = PatientCache(DiskCache(folder / "cache"))
        self._runs = folder / "runs"
        self._lease = Lease(self._runs, run)
        self._run = run
        self._reuse = reuse
        self._oldest = oldest_day(settings) or ""
        self.reasons: list[str] = []

    def __enter__(self) -> Self:
        self._lease.take()
        sweep(self._settings, self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.release()
        self.cache.disk.close()

    def find(self, request: Request) -> Reply | None:
        if not self._reuse:
            return None
        row = self.cache.get(_row(request))
        if row.reason:
            self.reasons.append(row.reason)
        value = row.value
        try:
            if value is None or not self._may_serve(value):
                return None
            return replace(_reply(value), origin="cached")
        except (KeyError, TypeError, ValueError, RecordingError):
            self.reasons.append("the cached row is of another form than this version writes")
            return None

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

    def flush(self) -> None:
        """Write what the disk did not take before; say what it still does not."""
        self.cache.flush()
        left = self.cache.held("reply:")
        if left:
            self.reasons.append(
                f"{left} paid {'reply' if left == 1 else 'replies'} could not be kept: those of "
                "passed tests are in the golden files, the others will be asked again. "
                f"{self.cache.fault}"
            )


class DiskMemory:
    """Settled replies of production calls with `cache="global"`, by key."""

    def __init__(self, settings: Settings) -> None:
        self._cache = DiskCache(ignored(settings.state_folder) / "cache")

    def get(self, key: str) -> Reply | None:
        value = self._cache.get(f"answer:{key}").value
        try:
            return None if value is None else replace(_reply(value), origin="cached")
        except (KeyError, TypeError, ValueError):
            return None  # a row with a digest, but not of the form we write

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
    """Return a cached reply; raises `KeyError`, `TypeError` or `ValueError` for what is none."""
    (taken, given), model, cost = value["tokens"], value["model"], value["cost"]
    if not (is_count(taken) and is_count(given) and isinstance(model, str)):
        raise TypeError("tokens are counts, and a model is a text")
    if not (cost is None or is_amount(cost)):
        raise TypeError("a cost is an amount")
    return Reply(value["data"], Usage(taken, given), model, cost=cost, wire=dict(value["wire"]))
