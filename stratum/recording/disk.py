"""Keep values on disk, in a database whose rows are never trusted."""

import json
import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import takewhile
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from stratum.errors import CacheUnusable, RecordingCorrupt, RecordingError
from stratum.hashing import digest
from stratum.recording.files import MAX_BYTES, MAX_LEVELS, is_too_deep, parse_json
from stratum.values import dataclass

if TYPE_CHECKING:
    from stratum.recording._safe_disk import SafeCache

_REMEDIES = {
    "locked": "Wait for the process that holds it, or end that process.",
    "readonly": "Make the folder and the file writable.",
    "unable to open": "Make the folder readable and writable.",
    "full": "Free some space on the disk.",
    "disk I/O": "Free some space on the disk, or move the cache to another one.",
    "too big": "Move the folder away; a row of ours holds at most 64 MB.",
    "Permission denied": "Make the folder readable and writable.",
}
_START_AFRESH = "Move the folder away; the next run starts an empty cache."


@dataclass(frozen=True)
class Row:
    """What the cache has under a key: a value, nothing, or the reason why it cannot be used."""

    value: dict[str, Any] | None = None
    reason: str | None = None


class DiskCache:
    """A dictionary on disk, shared by threads and processes, that never unpickles.

    The database is opened at the first use and made at the first write. The oldest rows are
    evicted above `size_limit` bytes. What cannot be read is a miss with a reason. Writing raises
    `CacheUnusable` when the disk does not take it now, `RecordingError` when it never will.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     cache = DiskCache(Path(folder))
    ...     cache.put("a", {"n": 1})
    ...     print(cache.get("a"), cache.get("b"))
    ...     cache.close()
    Row(value={'n': 1}, reason=None) Row(value=None, reason=None)
    """

    def __init__(self, folder: Path, *, size_limit: int = 4 * 2**30) -> None:
        self.folder = folder
        self.size_limit = size_limit
        self._lock = RLock()
        self._cache: SafeCache | None = None
        _close_around_forks(self)

    def get(self, key: str) -> Row:
        """Return the value under a key, or why there is none."""
        try:
            if self._is_absent():
                return Row()
            with self._opened() as cache:
                text: Any = cache.get(key)
            return Row() if text is None else Row(_unpack(text))
        except RecordingError as error:
            return Row(reason=str(error))

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep a JSON value under a key, in place of what is there."""
        packed = _pack(value)
        with self._opened() as cache:
            cache.set(key, packed)

    def add(self, key: str, value: dict[str, Any]) -> bool:
        """Keep a value unless the key is taken; of several processes one is told True.

        A row that cannot be used takes its key, too: `delete` it first.
        """
        packed = _pack(value)
        with self._opened() as cache:
            return bool(cache.add(key, packed))

    def delete(self, key: str) -> None:
        """Forget a key, if it is there."""
        if self._is_absent():
            return
        with self._opened() as cache:
            cache.delete(key)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix, sorted; raises if none can be read."""
        if self._is_absent():
            return []
        with self._opened() as cache:
            found = (key for (key,) in cache.texts_from(prefix))
            return list(takewhile(lambda key: key.startswith(prefix), found))

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        with self._lock:
            cache, self._cache = self._cache, None
            if cache is not None:
                cache.shut()

    def _is_absent(self) -> bool:
        try:
            return self._cache is None and not (self.folder / "cache.db").exists()
        except OSError as error:
            raise CacheUnusable(_why(self.folder, error)) from None

    @contextmanager
    def _opened(self) -> Iterator["SafeCache"]:
        """Lend the open cache to one thread; after a failure the next use opens it anew."""
        from stratum.recording import _safe_disk

        with self._lock:
            try:
                if self._cache is None:
                    self._cache = _safe_disk.open_cache(self.folder, self.size_limit)
                yield self._cache
            except _safe_disk.FAILURES as error:
                with suppress(sqlite3.Error):
                    self.close()
                raise CacheUnusable(_why(self.folder, error)) from None


def _pack(value: dict[str, Any]) -> str:
    try:
        text = json.dumps({"digest": digest(value), "value": value})
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordingError(
            f"the value cannot be cached, it is not JSON ({error}); pass it through "
            "hashing.jsonable first"
        ) from error
    if is_too_deep(text):
        raise RecordingError(
            f"the value cannot be cached, it is nested deeper than {MAX_LEVELS - 1} levels; "
            "flatten the contract that it answers"
        )
    if len(text) > MAX_BYTES:
        raise RecordingError("the value cannot be cached: a row holds at most 64 MB")
    return text


def _unpack(text: str) -> dict[str, Any]:
    try:
        row = parse_json(text)
    except ValueError as error:
        raise RecordingCorrupt(f"the cached row is not JSON we wrote: {error}") from None
    match row:
        case {"digest": str(known), "value": dict(value)} if digest(value) == known:
            return value
    raise RecordingCorrupt("the cached row does not have the digest it was written with")


def _why(folder: Path, error: Exception) -> str:
    """Say in words what failed; diskcache hides SQLite's reason behind a bare `Timeout`."""
    first: BaseException = error
    while isinstance(first.__context__, sqlite3.Error):
        first = first.__context__
    said = (first.strerror if isinstance(first, OSError) else None) or str(first)
    remedy = next((text for part, text in _REMEDIES.items() if part in said), _START_AFRESH)
    return f"the cache in {folder.as_posix()} cannot be used: {said}. {remedy}"


def _close_around_forks(cache: DiskCache) -> None:
    """Close the database before a fork: SQLite forbids to carry a connection across one."""
    if not hasattr(os, "register_at_fork"):
        return
    found = weakref.ref(cache)
    after = partial(_after_fork, found)
    os.register_at_fork(
        before=partial(_before_fork, found), after_in_parent=after, after_in_child=after
    )


def _before_fork(found: "weakref.ref[DiskCache]") -> None:
    if (cache := found()) is not None:
        cache._lock.acquire()
        cache.close()


def _after_fork(found: "weakref.ref[DiskCache]") -> None:
    if (cache := found()) is not None:
        cache._lock.release()
