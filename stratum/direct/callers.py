"""Say who makes a direct call: the recording stands under the caller's name."""

import sysconfig
from types import FrameType
from typing import NamedTuple

_INSIDE = ("<locals>", "<lambda>", "<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>")
_INSTALLED = ("site-packages", "dist-packages")
_LIBRARY = sysconfig.get_path("stdlib")


class Caller(NamedTuple):
    """The function of the user's that makes a call, and where."""

    file: str
    module: str
    function: str
    line: int


def caller(frame: FrameType | None, otherwise: Caller) -> Caller:
    """Return the nearest function that belongs to the user; else `otherwise`.

    Frames of installed packages and of the standard library are passed over: a retry decorator
    around a call is not its caller. In a thread there may be no other.
    """
    while frame is not None:
        if _is_users(frame.f_code.co_filename):
            return of(frame)
        frame = frame.f_back
    return otherwise


def of(frame: FrameType) -> Caller:
    code = frame.f_code
    module = str(frame.f_globals.get("__name__", "__main__"))
    return Caller(code.co_filename, module, _named(code.co_qualname), frame.f_lineno)


def _is_users(file: str) -> bool:
    installed = any(folder in file for folder in _INSTALLED)
    return file.endswith(".py") and not installed and not file.startswith(_LIBRARY)


def _named(qualified: str) -> str:
    """Return the name of the def around comprehensions and lambdas, on every Python the same."""
    parts = qualified.split(".")
    while parts and parts[-1] in _INSIDE:
        parts.pop()
    return ".".join(parts) or "<module>"
