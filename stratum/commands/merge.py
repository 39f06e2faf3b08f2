"""`stratum merge`: join two versions of a golden file, as git's merge driver does."""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stratum.commands.project import KEY, Subcommands, many
from stratum.text import escape, truncate

if TYPE_CHECKING:
    from stratum.recording.golden import FunctionFile, Sample
    from stratum.recording.merge import Conflict

_REPLY = 200  # characters of a reply that are shown


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "merge",
        help="join two versions of a golden file by key and place (a git merge driver)",
        description="Write what OURS and THEIRS made of BASE into OURS. Exits with 0 when they "
        "are joined, with 1 when a person has to decide; then OURS stays as it was.",
    )
    parser.add_argument("base", type=Path, metavar="BASE", help="the common version, or empty")
    parser.add_argument("ours", type=Path, metavar="OURS", help="our version, and the result")
    parser.add_argument("theirs", type=Path, metavar="THEIRS", help="their version")
    parser.add_argument("--path", metavar="P", help="the file's name in messages (default: OURS)")
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    from stratum.recording.files import write_atomic
    from stratum.recording.golden import read_file, text_of
    from stratum.recording.merge import join

    shown = escape(chosen.path or str(chosen.ours))
    ours, theirs = (read_file(path, "") for path in (chosen.ours, chosen.theirs))
    joined = join(_read_base(chosen.base), ours, theirs)
    if not joined.conflicts:
        write_atomic(chosen.ours, text_of(joined.file))
        return 0
    print("\n".join(_explained(shown, joined.file, joined.conflicts)), file=sys.stderr)
    return 1


def _read_base(path: Path) -> "FunctionFile | None":
    """Return the common version; git gives an empty file when both sides added theirs."""
    from stratum.recording.golden import read_file

    is_empty = path.exists() and not path.stat().st_size
    return None if is_empty else read_file(path, "")


def _explained(
    shown: str, file: "FunctionFile", conflicts: "tuple[Conflict, ...]"
) -> Iterator[str]:
    from stratum.recording.golden import ANY

    yield f"stratum: {shown}: {many(len(conflicts), 'call')} to decide; nothing was joined."
    for conflict in conflicts:
        place = "any place" if conflict.place == ANY else conflict.place
        yield f"  call {escape(conflict.key[:KEY])} of {escape(file.function)} at {escape(place)}"
        yield f"    ours:   {_side(conflict.ours)}"
        yield f"    theirs: {_side(conflict.theirs)}"
    yield (
        f"  Keep one side (git checkout --ours or --theirs {shown}), then record what is missing "
        "with pytest --stratum-record."
    )


def _side(sample: "Sample | None") -> str:
    if sample is None:
        return "removed"
    reply = json.dumps(sample.entry.get("reply"), ensure_ascii=False)
    told = [str(sample.entry.get("recorded_on", "")), sample.outcome, truncate(reply, _REPLY)]
    return escape("  ".join(filter(None, told)))
