"""What commands about a project's recordings share: the folder, and how calls are put."""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from stratum.errors import RecordingCorrupt
from stratum.settings import Settings
from stratum.text import escape, escape_lines, truncate

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from stratum.recording.listing import CallListing

Subcommands: TypeAlias = "_SubParsersAction[ArgumentParser]"

KEY = 12  # hex digits of a key that are shown
LINE = 72  # characters of a call's inputs that are shown in a list


def add_folder(parser: ArgumentParser) -> None:
    """Let a command be given a folder of the project."""
    parser.add_argument(
        "folder",
        nargs="?",
        type=_folder,
        default=Path(),
        help="a folder of the project (default: .)",
    )


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise ArgumentTypeError(f"there is no folder {escape(text)}")
    return folder


def is_recorded(settings: Settings) -> bool:
    """Say whether anything is recorded; tell the user when not."""
    if settings.recordings_folder.is_dir():
        return True
    folder = escape(str(settings.recordings_folder))
    print(f"nothing is recorded in {folder}; pytest --stratum-record does")
    return False


def path_of(settings: Settings, home: str) -> str:
    """Return a golden file's path below the root, for people."""
    path = settings.recordings_folder / PurePosixPath(home)
    return escape(path.relative_to(settings.root).as_posix())


def complain(faults: Iterable[RecordingCorrupt]) -> int:
    """Say which files could not be read; the exit code is 2 when there is one."""
    said = [f"stratum: {escape_lines(str(fault))}" for fault in faults]
    print("".join(f"{line}\n" for line in said), end="", file=sys.stderr)
    return 2 if said else 0


def line_of(call: "CallListing", inputs: str) -> str:
    """Return a call on one line: key, day, what sets it apart, and its inputs.

    It begins with a word of ours: recorded text at the start could be a command to CI.
    """
    apart = [f"at {' '.join(call.places)}"] if call.places != ("*",) else []
    apart += [f"attempt {call.attempt + 1}"] if call.attempt else []
    apart += [call.outcome] if call.outcome != "answered" else []
    apart += ["edited by hand"] if call.edited else []
    told = [f"call {call.key[:KEY]}", call.recorded_on, *apart, truncate(inputs, LINE)]
    return escape("  ".join(filter(None, told)))


def usd(amount: float) -> str:
    return f"${amount:.4f}" if amount >= 0.0001 or not amount else f"${amount:.2g}"


def many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
