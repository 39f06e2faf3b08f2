"""What the commands about reviews share: the folder, and the id."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from stratum.settings import load

if TYPE_CHECKING:
    from stratum.sinks.folder import ReviewFolder

_BEGINNING = re.compile(r"[0-9a-fA-F][0-9a-fA-F-]{3,35}")


def add_review(parser: ArgumentParser) -> None:
    """Let a command be given a review."""
    parser.add_argument(
        "review_id", type=_beginning, metavar="ID", help="how its id begins: 4 digits or more"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the reviews are (default: .stratum/reviews)"
    )


def _beginning(text: str) -> str:
    if _BEGINNING.fullmatch(text):
        return text
    raise ArgumentTypeError(f"{text!r} is no beginning of a review's id, which is a UUID")


def folder_of(given: Path | None) -> "ReviewFolder":
    """Return the folder that was named, else that of the project around us."""
    from stratum.sinks.folder import ReviewFolder

    return ReviewFolder(given or load(Path()).state_folder / "reviews")
