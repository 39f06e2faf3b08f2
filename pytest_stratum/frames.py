"""Take Stratum's own frames out of a failure, so that it shows the test's line."""

from collections.abc import Iterator
from types import TracebackType

from stratum.errors import StratumError

# What stands between the lines of a user's test and of a user's flow.
OURS = ("stratum", "pytest_stratum")
BETWEEN = ("asyncio", "concurrent")


def trim(error: BaseException) -> None:
    """Drop our frames from an error, its causes and the members of a group.

    An error that is not ours and comes from inside Stratum keeps them all: it is a bug, and
    whoever reports it needs them.
    """
    for each in _related(error, set()):
        frames = list(_frames(each.__traceback__))
        kept = [frame for frame in frames if _package(frame) not in OURS + BETWEEN]
        if kept and len(kept) < len(frames) and _may_hide(each, frames):
            each.__traceback__ = _linked(kept)


def _may_hide(error: BaseException, frames: list[TracebackType]) -> bool:
    packages = [_package(frame) for frame in frames]
    if isinstance(error, (StratumError, AssertionError)):
        return True
    return "stratum" in packages and packages[-1] not in OURS


def _related(error: BaseException, seen: set[int]) -> Iterator[BaseException]:
    if id(error) in seen:
        return
    seen.add(id(error))
    yield error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for each in (error.__cause__, error.__context__, *members):
        if each is not None:
            yield from _related(each, seen)


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _linked(frames: list[TracebackType]) -> TracebackType | None:
    following: TracebackType | None = None
    for frame in reversed(frames):
        following = TracebackType(following, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return following


def _package(frame: TracebackType) -> str:
    return str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
