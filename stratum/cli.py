"""The command `stratum`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stratum.errors import StratumError
from stratum.settings import load
from stratum.text import escape, escape_lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 is well, 1 is drift, 2 is a command or project that cannot work."""
    parser = argparse.ArgumentParser(
        prog="stratum", description="Recorded LLM calls: what drifted, and a model to try with."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    drift = commands.add_parser(
        "drift", help="compare golden/ with the source files, without running a test"
    )
    drift.add_argument(
        "folder", nargs="?", type=Path, default=Path(), help="a folder of the project (default: .)"
    )
    model = commands.add_parser(
        "local-model", help="serve a rule-based stand-in for a model on 127.0.0.1"
    )
    model.add_argument("--port", type=int, default=8765, help="the port (default: 8765)")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "drift":
            return _drift(chosen.folder)
        return _local_model(chosen.port)
    except StratumError as error:
        print(f"stratum: {escape_lines(str(error))}", file=sys.stderr)
        return 2


def _drift(folder: Path) -> int:
    from stratum.static_drift import find_drift

    settings = load(folder.resolve())
    if not settings.recordings_folder.is_dir():
        print(f"nothing is recorded in {settings.recordings_folder}; pytest --stratum-record does")
        return 0
    found = find_drift(settings)
    for drift in found.drifts:
        print(escape_lines(drift.text), end="\n\n")
    functions = f"{found.checked} function{'s' * (found.checked != 1)}"
    print(f"{functions} with {found.calls} recorded calls compared, {found.outdated} outdated")
    if found.later:
        names = escape(", ".join(sorted(set(found.later))))
        print(f"only compared when tests run: {names}")
    if not found.drifts:
        print("no drift")
        return 0
    print("accept: pytest --stratum-record")
    return 1


def _local_model(port: int) -> int:
    from stratum.testing.local_model import serve

    serve(port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
