"""The command `stratum`."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from io import TextIOWrapper

from stratum.commands import drift, local_model, ls, merge, review, show, upgrade
from stratum.errors import StratumError
from stratum.text import escape_lines

COMMANDS = (drift, ls, show, merge, upgrade, review, local_model)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 is well, 1 is something to decide or accept, 2 is what cannot work."""
    _print_anything()
    chosen = _parser().parse_args(arguments)
    try:
        code = int(chosen.run(chosen))
        sys.stdout.flush()
    except StratumError as error:
        print(f"stratum: {escape_lines(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads it, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="stratum", description="Recorded LLM calls: what is recorded, and what drifted."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _print_anything() -> None:
    """Let characters that the terminal's encoding lacks be shown as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
