"""Remove what record runs that died left behind."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from stratum.errors import RecordingCorrupt
from stratum.recording.files import refuse_links, temporaries
from stratum.recording.lease import remove_dead
from stratum.settings import Settings


def sweep(settings: Settings, run: str) -> None:
    """Remove leases, journals and half-written files of dead runs; `run` is the one that sweeps.

    Half-written files go only while no other run lives: whose they are cannot be told. They
    are listed before the leases are looked at, so a run that starts meanwhile loses none.
    """
    state = settings.state_folder
    files = [*temporaries(settings.golden_folder), *temporaries(settings.recordings_folder)]
    journals = list((state / "journal").glob("*"))
    living = remove_dead(state / "runs", but=run)
    _remove_journals((path for path in journals if path.name not in (run, *living)), state)
    for path in files if not living else ():
        with suppress(OSError):
            path.unlink()


def _remove_journals(folders: Iterable[Path], state: Path) -> None:
    for folder in folders:
        with suppress(RecordingCorrupt):
            refuse_links(folder, state)
            shutil.rmtree(folder, ignore_errors=True)
