"""`stratum review list`: what waits for a person."""

import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stratum.commands.project import Subcommands, many
from stratum.commands.review.folder import folder_of
from stratum.errors import ReviewError
from stratum.text import escape, escape_lines, truncate

if TYPE_CHECKING:
    from stratum.sinks.folder import Filed

LINE = 72  # characters of a question that are shown


def add(commands: Subcommands) -> None:
    parser = commands.add_parser("list", help="list the reviews that wait for a decision")
    parser.add_argument(
        "folder", nargs="?", type=Path, help="where the reviews are (default: .stratum/reviews)"
    )
    parser.add_argument("--all", action="store_true", help="also those that ended")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    from stratum.sinks.folder import reviews

    found = list(reviews(folder_of(chosen.folder)))
    faults = [each for each in found if isinstance(each, ReviewError)]
    filed = [each for each in found if not isinstance(each, ReviewError)]
    shown = [each for each in filed if chosen.all or each.status == "open"]
    if chosen.json:
        _print_json(shown)
    else:
        _print_lines(shown)
    for fault in faults:
        print(f"stratum: {escape_lines(str(fault))}", file=sys.stderr)
    return 2 if faults else 0


def _print_json(shown: "list[Filed]") -> None:
    from stratum.recording.files import dump_json

    print(dump_json({"reviews": [each.model_dump(mode="json") for each in shown]}), end="")


def _print_lines(shown: "list[Filed]") -> None:
    for each in shown:
        review = each.review
        question = escape(truncate(review.question, LINE))
        print(f"review {review.id}  {each.status}  {_age(review.asked_at)}  {question}")
    waiting = sum(1 for each in shown if each.status == "open")
    print(f"{many(waiting, 'review')} open")


def _age(asked: datetime | None) -> str:
    if asked is None or asked.tzinfo is None:
        return "-"
    minutes = max(0, int((datetime.now(UTC) - asked).total_seconds() // 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
