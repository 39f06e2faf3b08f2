"""The terminal: whether there is one, and reading a line without blocking."""

import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from stratum.errors import ConfigurationError

LONGEST = 65_536  # bytes of an answer

_REMEDY = (
    "  Give await_human(sink=FileSink()) and decide with `stratum review decide`, or replay a "
    "recorded decision with pytest --stratum-replay."
)


class Terminal:
    """Two descriptors to ask and to read; nothing here waits.

    A byte is read only when there is one, so a review can be withdrawn at any time, no thread
    is left behind, and what follows the line stays for the next reader.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._in = incoming
        self._out = outgoing
        self._line = bytearray()

    def write(self, text: str) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, ValueError, OSError):
                stream.flush()
        content = memoryview(text.encode("utf-8", "backslashreplace"))
        while content:
            content = content[os.write(self._out, content) :]

    def forget_typed(self) -> None:
        """Drop what was typed before the question stood there, or for one that is gone."""
        self._line.clear()
        if os.isatty(self._in) and sys.platform != "win32":
            import termios

            termios.tcflush(self._in, termios.TCIFLUSH)

    def line(self) -> str | None:
        """Return the line that was typed, None while there is none; `EOFError` at the end."""
        while self._is_ready():
            byte = os.read(self._in, 1)
            if byte == b"\n" or len(self._line) > LONGEST or (not byte and self._line):
                line = self._line.decode("utf-8", "replace")
                self._line.clear()
                return line
            if not byte:
                raise EOFError
            self._line += byte
        return None

    def _is_ready(self) -> bool:
        return bool(select.select([self._in], [], [], 0)[0])


class WindowsConsole(Terminal):
    """The console of Windows, where `select` knows sockets only: key by key."""

    def __init__(self) -> None:
        super().__init__(-1, 2)
        self._keys = ""

    def forget_typed(self) -> None:
        self._keys = ""
        if sys.platform == "win32":
            import msvcrt

            while msvcrt.kbhit():
                msvcrt.getwch()

    def line(self) -> str | None:
        if sys.platform == "win32":
            import msvcrt

            while msvcrt.kbhit():
                key = msvcrt.getwch()
                msvcrt.putwch(key)
                line = self._typed(key)
                if line is not None:
                    msvcrt.putwch("\n")
                    return line
        return None

    def _typed(self, key: str) -> str | None:
        """Take up a key; returns the line that it ends."""
        match key:
            case "\x03":
                raise KeyboardInterrupt
            case "\x1a":
                raise EOFError
            case "\r" | "\n":
                line, self._keys = self._keys, ""
                return line
            case "\b":
                self._keys = self._keys[:-1]
            case _:
                self._keys = (self._keys + key)[:LONGEST]
        return None


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Lend the terminal: stdin where it is one or a pipe, else the one that controls us.

    Under pytest, which takes stdin away, a person can be asked nonetheless. Raises
    `ConfigurationError` where nobody would see the question.
    """
    kind = _stdin()
    if kind == "console" and sys.platform == "win32":
        yield WindowsConsole()
        return
    if kind == "terminal":
        yield Terminal(0, next((fd for fd in (2, 1, 0) if os.isatty(fd)), 2))
        return
    _refuse_unattended()
    if kind == "pipe":
        yield Terminal(0, 2)
        return
    controlling = _controlling()
    try:
        yield Terminal(controlling, controlling)
    finally:
        os.close(controlling)


def _stdin() -> str:
    try:
        mode = os.fstat(0).st_mode
        if os.isatty(0):
            return "console" if sys.platform == "win32" else "terminal"
    except OSError:  # closed
        return "none"
    pipe = stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
    return "pipe" if pipe and sys.platform != "win32" else "none"


def _refuse_unattended() -> None:
    """Raise where no person sits, though stdin may be open: it would be waited for in vain."""
    for name, where in (("CI", "in CI"), ("PYTEST_XDIST_WORKER", "in a worker of pytest-xdist")):
        if os.environ.get(name):
            raise ConfigurationError(f"nobody can be asked on a terminal {where}.\n{_REMEDY}")


def _controlling() -> int:
    try:
        opened = os.open("/dev/tty", os.O_RDWR | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        raise ConfigurationError(f"there is no terminal to ask on.\n{_REMEDY}") from error
    if os.tcgetpgrp(opened) != os.getpgrp():
        os.close(opened)
        raise ConfigurationError(f"a job in the background cannot ask on its terminal.\n{_REMEDY}")
    return opened


def ended() -> ConfigurationError:
    return ConfigurationError(f"the input ended before a decision.\n{_REMEDY}")
