"""`stratum review`: what waits for a person, and its decision."""

from stratum.commands.project import Subcommands
from stratum.commands.review import decide, listing, showing


def add(commands: Subcommands) -> None:
    parser = commands.add_parser("review", help="list what waits for a person, and decide it")
    inner = parser.add_subparsers(dest="review", required=True, metavar="COMMAND")
    for command in (listing, showing, decide):
        command.add(inner)
