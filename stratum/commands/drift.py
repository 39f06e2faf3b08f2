"""`stratum drift`: compare golden/ with the source files."""

from argparse import Namespace

from stratum.commands.project import Subcommands, add_folder, is_recorded
from stratum.settings import load
from stratum.text import disarm, escape, escape_lines


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "drift", help="compare golden/ with the source files, without running a test"
    )
    add_folder(parser)
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    from stratum.recording.drift import by_cause
    from stratum.static_drift import find_drift

    settings = load(chosen.folder.resolve())
    if not is_recorded(settings):
        return 0
    found = find_drift(settings)
    for drift, *others in by_cause(found.drifts):
        also = "".join(f"\n  also in {other.where}" for other in others)
        print(disarm(escape_lines(drift.text + also)), end="\n\n")
    functions = f"{found.checked} function{'s' * (found.checked != 1)}"
    stale = f", {found.stale} stale" if settings.max_age else ""
    counted = f"{found.calls} recorded calls compared, {found.outdated} outdated{stale}"
    print(f"{functions} with {counted}")
    if found.later:
        names = escape(", ".join(sorted(set(found.later))))
        print(f"only compared when tests run: {names}")
    if not found.drifts:
        print("no drift")
        return 0
    orphaned = any(drift.kind == "orphaned" for drift in found.drifts)
    print(f"accept: pytest --stratum-record{' --stratum-prune' * orphaned}")
    return 1
