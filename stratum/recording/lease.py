"""Tell whether the process of a run still lives."""

import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from stratum.errors import RecordingError

_RUN = re.compile(r"[0-9a-f]{8,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FLAGS = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_PATIENCE = 1.0  # seconds; `is_held` holds the lock for microseconds while it asks


class Lease:
    """A lock in the name of a run that the system lets go when the process ends, however it ends.

    Raises `RecordingError` for a run id that is not hex or a uuid, and where the lease cannot be
    taken.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with Lease(Path(folder), "0f0f0f0f"):
    ...         print(is_held(Path(folder), "0f0f0f0f"))
    ...     print(is_held(Path(folder), "0f0f0f0f"))
    True
    False
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.path: Path = _path(folder, run)
        self.run = run
        self._file: int | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def take(self) -> None:
        """Hold the run until `release` or the end of the process."""
        deadline = time.monotonic() + _PATIENCE
        while (file := _try_to_take(self.path)) is None:
            if time.monotonic() > deadline:
                raise RecordingError(
                    f"the run {self.run} is held already ({self.path}); start this one "
                    "under an id of its own"
                )
            time.sleep(0.005)
        self._file = file

    def release(self) -> None:
        """Let go, if it is held."""
        file, self._file = self._file, None
        if file is None:
            return
        with suppress(OSError):
            self.path.unlink()  # before the lock goes: afterwards it may be another's
        os.close(file)

    def _forget(self) -> None:
        """Close a forked child's copy, which would keep the lock when this process ends."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def is_held(folder: Path, run: str) -> bool:
    """Return whether a living process, this one included, holds the run."""
    try:
        file = os.open(_path(folder, run), _FLAGS)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RecordingError(
            f"whether the run {run} lives cannot be told ({error.strerror}: {folder}); make its "
            "lease a plain file that can be read and written"
        ) from error
    try:
        return not _lock(file)
    finally:
        os.close(file)


def remove_dead(folder: Path, *, but: str) -> set[str]:
    """Remove the leases that nobody holds; return the runs that live, except one."""
    names = {path.stem for path in folder.glob("*.lease")} - {but}
    return {run for run in names if _RUN.fullmatch(run) and not _remove(folder / f"{run}.lease")}


def _remove(path: Path) -> bool:
    """Remove a lease unless it is held; return whether its run is no more."""
    try:
        file = os.open(path, _FLAGS)
    except OSError:
        return not path.is_file()  # one that cannot be opened may be held
    try:
        if not _lock(file):
            return False
        if _is_still(path, file):
            with suppress(OSError):
                path.unlink()  # whoever waits for the lock sees that it is gone, as in `release`
        return True
    finally:
        os.close(file)


def _path(folder: Path, run: str) -> Path:
    if _RUN.fullmatch(run):
        return folder / f"{run}.lease"
    raise RecordingError(f"{run[:80]!r} is no run id; use 8 to 64 lower-case hex digits or a uuid")


def _try_to_take(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, _FLAGS | os.O_CREAT, 0o666)
    except OSError as error:
        raise RecordingError(
            f"the lease {path} cannot be made ({error.strerror}); make the folder writable"
        ) from error
    if _lock(file) and _is_still(path, file):
        return file
    os.close(file)
    return None


def _is_still(path: Path, file: int) -> bool:
    """Tell whether the file locked is the one at the path, not one just released."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
