"""Open a diskcache database without trusting what is in it."""

import sqlite3
from pathlib import Path
from typing import Any

from diskcache import Cache, Disk, Timeout
from diskcache.core import DBNAME, DEFAULT_SETTINGS, ENOVAL, MODE_RAW, UNKNOWN

from stratum.errors import RecordingCorrupt

FAILURES = (sqlite3.Error, OSError, Timeout)
PATIENCE = 1.0  # seconds to wait for a lock
MAX_ROW = 64 * 2**20

# No mmap: a file that another process truncates would end this one with SIGBUS.
_PRAGMAS = {
    "trusted_schema": 0,
    "auto_vacuum": 1,
    "journal_mode": "wal",
    "synchronous": 1,
    "mmap_size": 0,
}
# Reads write nothing under this policy, so a hit takes no lock.
_SETTINGS = {
    **{key: value for key, value in DEFAULT_SETTINGS.items() if not key.startswith("sqlite_")},
    "eviction_policy": "least-recently-stored",
    "cull_limit": 10,
    "statistics": 0,
    "tag_index": 0,
}


class SafeDisk(Disk):  # type: ignore[misc]
    """Plain text keys and values, inline; every other kind of row is refused unread."""

    def __init__(self, directory: str, /, **_: Any) -> None:
        super().__init__(directory)

    def put(self, key: Any) -> tuple[str, bool]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _text(key, "a key"), True

    def get(self, key: Any, raw: bool) -> str:
        if not raw:
            raise RecordingCorrupt("the cache has a pickled key; it was not read")
        return _text(key, "a key")

    def store(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, value: Any, read: bool, key: Any = UNKNOWN
    ) -> tuple[int, int, None, str]:
        return 0, MODE_RAW, None, _text(value, "a value")

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> str:
        if filename is not None:
            raise RecordingCorrupt("the cached row names a file outside the database")
        if mode != MODE_RAW:
            raise RecordingCorrupt(f"the cached row is pickled or binary (mode {mode})")
        return _text(value, "the cached row")

    def filename(self, key: Any = UNKNOWN, value: Any = UNKNOWN) -> tuple[str, str]:
        raise RecordingCorrupt("the cache keeps its values in the database, never in files")

    def remove(self, file_path: str) -> None:
        """Delete nothing: we write no files, so a file name in a row is not ours."""


class SafeCache(Cache):  # type: ignore[misc]
    """A diskcache on a connection of ours, deaf to the settings that the file holds."""

    def __init__(self, connection: sqlite3.Connection, size_limit: int) -> None:
        self._connection = connection
        self._ours = {**_SETTINGS, "size_limit": size_limit}
        # diskcache expands `$` and `~` in the folder it is given; it needs none with SafeDisk.
        patience: Any = PATIENCE  # the default of 60 makes type checkers expect an int
        super().__init__("/", timeout=patience, disk=SafeDisk, **self._ours)

    @property
    def _con(self) -> sqlite3.Connection:
        return self._connection

    def reset(self, key: str, value: Any = ENOVAL, update: bool = True) -> Any:
        """Take a setting from ours; the file's would be set as attributes and pragmas."""
        if key in self._ours and not key.startswith("disk_"):
            setattr(self, key, self._ours[key])
        return self._ours.get(key, 0)

    def close(self) -> None:
        """Do nothing: diskcache closes once while it opens; see `shut`."""

    def shut(self) -> None:
        self._connection.close()

    def texts_from(self, start: str) -> sqlite3.Cursor:
        """Return a cursor over the plain keys from `start` on, in order."""
        return self._connection.execute(
            "SELECT key FROM Cache WHERE key >= ? AND raw = 1 AND typeof(key) = 'text'"
            " ORDER BY key",
            (start,),
        )


def open_cache(folder: Path, size_limit: int) -> SafeCache:
    """Return the cache in a folder, made if it is missing; raises one of `FAILURES`."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = _connect(folder / DBNAME)
    try:
        return _prepare(connection, size_limit)
    except BaseException:
        connection.close()
        raise


def _connect(path: Path) -> sqlite3.Connection:
    if path.is_symlink():
        raise sqlite3.DatabaseError("it is a symbolic link")
    return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, size_limit: int) -> SafeCache:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW)
    for name, value in _PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
    # Inside a transaction nothing is locked: diskcache would try for a minute.
    connection.execute("BEGIN IMMEDIATE")
    try:
        cache = SafeCache(connection, size_limit)
    except (TypeError, ValueError, AttributeError) as error:
        raise sqlite3.DatabaseError("its settings cannot be used") from error
    connection.execute("COMMIT")
    return cache


def _text(value: Any, what: str) -> str:
    if type(value) is str:
        return value
    raise RecordingCorrupt(f"{what} is {type(value).__name__}, not text")
