"""Hold back the rows that the disk does not take now: their replies are paid for."""

import time
from typing import Any

from stratum.errors import CacheUnusable
from stratum.recording.disk import DiskCache, Row

PAUSE = 10.0  # seconds until a disk that took no row is tried again


class PatientCache:
    """A disk cache whose `put` does not raise for a disk that is locked, full or broken.

    What it holds back is written with a later row, or by `flush`. `fault` is why the disk took
    the last row not.
    """

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache
        self._held: dict[str, dict[str, Any]] = {}
        self._again = 0.0
        self._tried = False
        self.fault: CacheUnusable | None = None

    def __len__(self) -> int:
        """The rows that are held back."""
        return len(self._held)

    def ready(self) -> None:
        """Raise `CacheUnusable`, before anything is paid for, if no row could be kept.

        Only asked of the disk once it has failed or was never written to.
        """
        if self.fault is not None and time.monotonic() < self._again:
            raise self.fault
        if self.fault is not None or not self._tried:
            self._write("probe", {})
        if self.fault is not None:
            raise self.fault

    def get(self, row: str) -> Row:
        held = self._held.get(row)
        return self._cache.get(row) if held is None else Row(held)

    def put(self, row: str, value: dict[str, Any]) -> None:
        """Keep a row on disk or, while that is impossible, here.

        Raises `RecordingError` for a value that no disk could keep.
        """
        self._held[row] = value
        if self.fault is not None and time.monotonic() < self._again:
            return
        if self._write(row, value):
            self.flush()

    def flush(self) -> None:
        """Write what is held back, up to the first row that the disk does not take."""
        for row, value in list(self._held.items()):
            if not self._write(row, value):
                return

    def _write(self, row: str, value: dict[str, Any]) -> bool:
        self._tried = True
        held = self._held.pop(row, value)
        try:
            self._cache.put(row, held)
        except CacheUnusable as error:
            self.fault, self._again = error, time.monotonic() + PAUSE
            if row != "probe":
                self._held[row] = held
            return False
        self.fault = None
        return True
