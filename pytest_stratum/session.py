"""The state of one test run: mode, store, roots."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import wraps
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_stratum.completeness import Progress, why_incomplete
from pytest_stratum.network import Network
from pytest_stratum.report import Report, shown
from stratum.calls import Client
from stratum.clocks import FixedClock
from stratum.errors import ConfigurationError, NotAwaited, RecordingCorrupt, RecordingError
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.recording.unused import Unused
from stratum.roots import Root
from stratum.scope import current, enter, live_client, process
from stratum.settings import Settings, load
from stratum.text import disarm

if TYPE_CHECKING:
    from pytest_stratum.recorder import Recorder

T = TypeVar("T")

ROOTS = pytest.StashKey[list[Root]]()  # the roots of a test so far, in this try
CALLED = pytest.StashKey[Root]()
SNAPSHOTS = pytest.StashKey[list[Any]]()

_OFF = (
    "live calls are off under --stratum-replay.\n"
    "  Record the call with pytest --stratum-record, or script it with ScriptedClient."
)


class LateClient:
    """The configured client, looked up when the first call needs it."""

    async def complete(self, request: Any) -> Any:
        return await live_client().complete(request)

    async def quote(self, request: Any) -> Any:
        return await live_client().quote(request)


class StratumSession:
    """What the plugin keeps from the first hook to the last."""

    def __init__(self, config: pytest.Config, mode: str | None) -> None:
        self.mode = mode
        self.config = config
        self.discarded: set[str] = set()
        self.progress: Progress = Progress()
        self._network = Network()
        self._fixtures: dict[Any, tuple[Root, Any]] = {}
        self._before = (process.settings, process.no_live_calls)
        self.settings: Settings = self._load(config)
        self.report: Report = Report(self.settings.root)
        self._store: GoldenStore | None = None
        self._client: RecordingClient | None = None
        self.recorder: Recorder | None = None
        self.workers: list[Progress] = []
        self.crashed: bool = False

    def _load(self, config: pytest.Config) -> Settings:
        try:
            return load(Path(config.rootpath), otherwise=Path(config.rootpath))
        except ConfigurationError as error:
            raise pytest.UsageError(str(error)) from error

    def _read_golden(self) -> None:
        """Read all recordings at once: a broken file is one error, not one for each test."""
        try:
            self.store.recordings.read_all()
        except RecordingCorrupt as error:
            raise pytest.UsageError(disarm(str(error))) from error

    @property
    def records(self) -> bool:
        return self.mode in ("record", "record-all")

    @property
    def store(self) -> GoldenStore:
        if self._store is None:
            self._store = GoldenStore(self.settings, reuse=self.mode != "record-all")
        return self._store

    def start(self) -> None:
        if self.mode is not None:
            self._read_golden()
        process.settings = self.settings
        process.secrets_from = None
        if self.records:
            from pytest_stratum.recorder import Recorder  # loads the cache on disk

            given = getattr(self.config, "workerinput", {}).get("stratum_run")
            controls = self.config.pluginmanager.hasplugin("dsession")
            self.recorder = Recorder(self.store, run=given, controls=controls)
            try:
                self.recorder.start()
            except RecordingError as error:  # nothing is asked that could not be kept
                raise pytest.UsageError(str(error)) from error
        if self.mode == "replay":
            process.no_live_calls = _OFF
        if self.config.getini("stratum_block_network"):
            self._network.install()

    def stop(self) -> None:
        process.settings, process.no_live_calls = self._before
        process.secrets_from = None
        if self.recorder is not None:
            self.recorder.close()
        self._network.restore()

    def header(self) -> str:
        recordings = shown(self.settings.recordings_folder, self.settings.root)
        model = f", model {self.settings.model}" if self.settings.model else ""
        asked = environ.get("STRATUM_MODEL")
        if asked and self.records:
            instead = f", instead of {self.settings.model}" if self.settings.model else ""
            model = f", model {asked} (from STRATUM_MODEL{instead})"
        source = "" if self.config.getoption("stratum_mode") else " (stratum_mode in the ini file)"
        return f"stratum: {self.mode}{source}, {recordings}/{model}"

    # Roots

    def _root(self, name: str, mode: str | None) -> Root:
        if mode is None or mode == "live":
            return Root(name)
        clock = FixedClock(self.settings.now)
        model = environ.get("STRATUM_MODEL") if self.records else None
        if self._client is None:
            self._client = self._recording(LateClient())
        return Root(name, clock=clock, client=self._client, wrap=self._recording, model=model)

    def _recording(self, client: Client) -> RecordingClient:
        if self.recorder is not None:
            return self.recorder.client(client)
        return RecordingClient(self.store)

    @contextmanager
    def _rooted(self, root: Root, mode: str | None, nodeid: str) -> Iterator[None]:
        """Let the body's calls be of a root, and take up what they did."""
        replays = mode == "replay"
        before = process.root, process.no_live_calls, self._network.is_closed
        process.root = root
        process.no_live_calls, self._network.is_closed = _OFF if replays else None, replays
        try:
            yield
        finally:
            process.root, process.no_live_calls, self._network.is_closed = before
            self._note(root, nodeid)

    @contextmanager
    def collection(self, nodeid: str) -> Iterator[None]:
        """Let what a module calls when it is imported be a root, which counts at once."""
        root = self._root(f"collection of {nodeid}", self.mode)
        with self._rooted(root, self.mode, nodeid):
            yield
        self._commit(root)

    def fixture(self, fixturedef: Any, item: Any, marked: str | None) -> Generator[None, T, T]:
        """Let a fixture's setup be a root, which the tests that use it commit."""
        mode = marked or self.mode
        root = self._root(f"fixture {fixturedef.argname}", mode)
        self._fixtures[fixturedef] = (root, item)
        if item is not None:
            item.stash.setdefault(ROOTS, []).append(root)
        with self._rooted(root, mode, item.nodeid if item is not None else root.name):
            return (yield)

    def fixture_ended(self, fixturedef: Any) -> None:
        self._fixtures.pop(fixturedef, None)

    def phase(self, item: pytest.Item, when: str, marked: str | None) -> Generator[None, T, T]:
        """Let one phase of a test be a root; misses that the test swallowed fail it here."""
        mode = marked or self.mode
        root = self._root(f"{item.nodeid} ({when})", mode)
        roots = item.stash.setdefault(ROOTS, [])
        if when == "setup":
            roots.clear()
        roots.append(root)
        if when == "call":
            self.progress.ran += 1
            item.stash[CALLED] = root
        try:
            with self._rooted(root, mode, item.nodeid):
                result = yield
        except pytest.skip.Exception:
            _refuse_misses(roots)
            raise
        except BaseException as error:
            self.report.missed(error, item.nodeid)  # may be that of a fixture set up before
            _forget_misses(roots)
            raise
        _refuse_misses(roots)
        if when == "setup":
            self._commit(root)
            return result
        _refuse_forgotten(roots if when == "call" else [root])
        if when == "teardown":
            self._commit(root)
        return result

    def ended(self, item: pytest.Item) -> None:
        """Let go of a test's roots after its last report: most hold what nobody asks for again."""
        keys: list[pytest.StashKey[Any]] = [ROOTS, CALLED, SNAPSHOTS]
        for key in keys:
            if key in item.stash:
                del item.stash[key]

    def claiming(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a coroutine test so that its task owns the branch, whatever starts it."""

        @wraps(function)
        async def claimed(*args: Any, **kwargs: Any) -> Any:
            root = process.root
            if root is not None:
                root.branch.claim()
                enter(current())
            return await function(*args, **kwargs)

        return claimed

    def root_of(self, item: pytest.Item) -> Root | None:
        """Return the root of the test's call phase."""
        return item.stash.get(CALLED, None)

    def called(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Take up the end of a test's call phase."""
        passed = report.passed or (report.skipped and hasattr(report, "wasxfail"))
        for assertion in item.stash.get(SNAPSHOTS, []):
            self._take_snapshots(item, assertion, passed=passed)
        item.stash[SNAPSHOTS] = []
        if not passed:
            self.progress.failed |= not report.skipped
            return
        root = self.root_of(item)
        if root is not None:
            self._commit(root)
        names = getattr(item, "fixturenames", ())
        for definition, (fixture_root, setup_by) in self._fixtures.items():
            if setup_by is item or _uses(item, definition, names):
                self._commit(fixture_root)

    def _commit(self, root: Root) -> None:
        if self.recorder is not None:
            self.recorder.commit(root)

    def _note(self, root: Root, nodeid: str) -> None:
        """Take up what a root's calls did, for the report."""
        for miss in root.misses:
            self.report.missed(miss, nodeid)
        if root.client is None:  # else what was live is recorded, and counted there
            for record in root.records:
                self.report.traced(record)

    def _take_snapshots(self, item: pytest.Item, assertion: Any, *, passed: bool) -> None:
        for result in assertion.executions.values():
            self.progress.flows.append(result.snapshot_location)
            if passed:
                self.discarded.discard(result.snapshot_location)
                continue
            self.discarded.add(result.snapshot_location)
            if not result.success and not self.report.broke(item.nodeid):
                self.report.flow_differs(item, result, self.mode)

    # The end

    def finish(self, exitstatus: int) -> None:
        """Write golden/ in record mode, and gather the counts."""
        if self._store is not None:
            self.report.counted(self._store.counts)
            self.progress.used = self._store.used() if self.mode == "replay" else {}
        if self.recorder is not None:
            self._write(self.recorder, exitstatus)
        if self.mode is not None and self.why_incomplete(exitstatus) is None:
            self._count_unused()

    def _write(self, recorder: "Recorder", exitstatus: int) -> None:
        why = self.why_incomplete(exitstatus)
        prune = bool(self.config.getoption("stratum_prune"))
        changed = recorder.write(complete=why is None, prune=prune)
        self.report.wrote(changed, self.settings)
        self.report.errors |= dict.fromkeys(self.store.unwritten)
        self.report.reasons = sorted({*self.report.reasons, *recorder.reasons})
        if prune and not hasattr(self.config, "workerinput"):
            self._prune_flows(why)

    def _prune_flows(self, why: str | None) -> None:
        """Remove the golden flows that a complete run did not compare."""
        if why is not None:
            self.report.notes.append(f"nothing was pruned: {why}")
            return
        compared = {Path(flow) for each in self.processes for flow in each.flows}
        for path in sorted((self.settings.golden_folder / "flows").rglob("*.yaml")):
            if path not in compared:
                path.unlink()
                with suppress(OSError):  # its folder, when nothing else is in it
                    path.parent.rmdir()
                self.report.notes.append(f"removed {shown(path, self.settings.root)}")

    @property
    def processes(self) -> list[Progress]:
        """How far the workers came, or this process when there are none."""
        return self.workers or [self.progress]

    def _count_unused(self) -> None:
        """Count the recorded calls that a complete run did not use."""
        if self.records:
            folder = self.settings.recordings_folder
            self.report.unused = Unused.after_record(folder, self.store.committed)
        else:
            used = [each.used for each in self.processes]
            self.report.unused = Unused.by_replay(self.store.recordings.files, used)

    def as_data(self) -> dict[str, Any]:
        """Return what a worker tells the controller."""
        return {"report": self.report.as_data(), "progress": asdict(self.progress)}

    def worker_ended(self, data: dict[str, Any] | None) -> None:
        """Take up what a worker told; nothing when it crashed."""
        if data is None:
            self.crashed = True
            return
        self.report.merge(data["report"])
        self.workers.append(Progress(**data["progress"]))

    def why_incomplete(self, exitstatus: int) -> str | None:
        """Say why the run did not see every test of the project pass; None when it did."""
        if exitstatus != 0:
            return "a test failed, or the run was interrupted"
        return why_incomplete(self.config, self.settings, self.processes, crashed=self.crashed)


def _uses(item: pytest.Item, definition: Any, names: Any) -> bool:
    return definition.argname in names and item.nodeid.startswith(definition.baseid)


def _refuse_misses(roots: list[Root]) -> None:
    """Raise a miss that the test, or a fixture of it, did not let through."""
    misses = _forget_misses(roots)
    if misses:
        raise misses[0] from None


def _forget_misses(roots: list[Root]) -> list[Exception]:
    misses = [miss for root in roots for miss in root.misses]
    for root in roots:
        root.misses.clear()
    return misses


def _refuse_forgotten(roots: list[Root]) -> None:
    forgotten = [where() for root in roots for where in root.pending.values()]
    for root in roots:
        root.pending.clear()
    if forgotten:
        listed = "\n".join(f"  - {where}" for where in forgotten)
        raise NotAwaited(f"never awaited, so never asked:\n{listed}\n  Await each call.")
