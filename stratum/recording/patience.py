"""Hold back the rows that the disk does not take now: their replies are paid for."""

import time
from typing import Any

from stratum.errors import CacheUnusable, RecordingError
from stratum.recording.disk import DiskCache, Row

PAUSE = 10.0  # seconds until a disk that took no row is tried again


class PatientCache:
    """A disk cache whose `put` does not fail when the disk is locked, full or broken.

    What it holds back is written with a later row, or by `flush`; `fault` is why the disk did
    not take the last row.
    """

    def __init__(self, disk: DiskCache) -> None:
        self.disk = disk
        self._held: dict[str, dict[str, Any]] = {}
        self._again = 0.0
        self.fault: CacheUnusable | None = None

    def held(self, prefix: str) -> int:
        """Return how many rows are held back whose key begins with a prefix."""
        return sum(row.startswith(prefix) for row in self._held)

    def get(self, row: str) -> Row:
        held = self._held.get(row)
        return self.disk.get(row) if held is None else Row(held)

    def put(self, row: str, value: dict[str, Any]) -> None:
        """Keep a row on disk or, while that is impossible, here.

        Raises `RecordingError` for a value that no disk could keep.
        """
        self._held[row] = value
        if self.fault is None or time.monotonic() >= self._again:
            self.flush()

    def flush(self) -> None:
        """Write what is held back, up to the first row that the disk does not take."""
        for row, value in list(self._held.items()):
            if not self._write(row, value):
                return
            self._held.pop(row, None)

    def _write(self, row: str, value: dict[str, Any]) -> bool:
        try:
            self.disk.put(row, value)
        except CacheUnusable as error:
            self.fault, self._again = error, time.monotonic() + PAUSE
            return False
        except RecordingError:
            self._held.pop(row, None)
            raise
        self.fault = None
        return True
