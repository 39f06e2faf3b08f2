"""`stratum upgrade`: rewrite golden files in the current format."""

from argparse import Namespace

from stratum.commands.project import Subcommands, add_folder, is_recorded, many, path_of
from stratum.settings import load


def add(commands: Subcommands) -> None:
    parser = commands.add_parser("upgrade", help="rewrite golden files in the current format")
    add_folder(parser)
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """Read all files before one is written: a broken or newer one changes nothing."""
    from stratum.recording.formats import FORMAT
    from stratum.recording.golden import Recordings

    settings = load(chosen.folder.resolve())
    if not is_recorded(settings):
        return 0
    recordings = Recordings(settings.recordings_folder, settings.root)
    files = recordings.files
    old = {home: file for home, file in files.items() if file.format < FORMAT}
    for home, file in old.items():
        recordings.write(home, file)
        print(f"upgraded {path_of(settings, home)} from format {file.format}")
    print(
        f"{many(len(old), 'file')} upgraded to format {FORMAT}, "
        f"{len(files) - len(old)} had it already"
    )
    return 0
