"""What a record run needs besides its store: leases, claims, journals, one merge."""

import shutil
from uuid import uuid4

from stratum.calls import Client
from stratum.recording.claims import Claims
from stratum.recording.client import RecordingClient
from stratum.recording.journal import Journal, read_journals
from stratum.recording.pending import Pending
from stratum.recording.store import GoldenStore
from stratum.roots import Root


class Recorder:
    """One process of a record run: it asks, and commits what passed.

    `run` is shared by all processes of the run; a `worker` passes on what it commits in a
    journal, a `controller` merges the journals, and a process alone needs neither.
    """

    def __init__(
        self, store: GoldenStore, *, run: str | None = None, controls: bool = False
    ) -> None:
        self.run: str = run or uuid4().hex
        self._store = store
        self._controls = controls
        state = store.settings.state_folder
        self._journals = state / "journal" / self.run
        process = uuid4().hex if run else self.run
        self._pending = Pending(store.settings, process, reuse=store.reuse)
        self._claims = Claims(self._pending.cache, state / "runs", self.run, process)
        self._journal = Journal(self._journals, process, store.recordings) if run else None

    def start(self) -> None:
        self._pending.__enter__()

    def close(self) -> None:
        self._pending.__exit__()

    @property
    def reasons(self) -> list[str]:
        """Why rows of the cache could not be used, or written."""
        self._pending.flush()
        return sorted(set(self._pending.reasons))

    def client(self, inner: Client) -> RecordingClient:
        return RecordingClient(self._store, inner, self._pending, self._claims)

    def commit(self, root: Root) -> None:
        """Let what a root asked and met be written."""
        uses = self._store.passed(root)
        if self._journal is None:
            return
        try:
            self._journal.append(uses)
        except OSError as error:
            self._store.unwritten.append(
                f"{len(uses)} recorded calls are not in golden/ yet: {self._journals} cannot be "
                f"written ({error.strerror or error}). Make it writable, and run again."
            )

    def write(self, *, complete: bool, prune: bool) -> list[str]:
        """Write `golden/`, unless this is a worker; returns the files that changed."""
        for root in self._store.late():
            self.commit(root)
        if self._journal is not None:
            return []
        if self._controls:
            self._store.committed = read_journals(self._journals, self._store.recordings)
        changed = self._store.write(complete=complete, prune=prune)
        shutil.rmtree(self._journals, ignore_errors=True)
        self._claims.forget()
        return changed
