"""Record and replay wrapped calls within one process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stratum.clocks import FixedClock
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.roots import Root
from stratum.scope import process, rooted
from stratum.settings import NOW, Settings


@contextmanager
def recording(settings: Settings) -> Iterator[Root]:
    """Record what the body calls, as a complete run of one test."""
    store = GoldenStore(settings)
    with _mode(lambda inner: RecordingClient(store, inner)) as root:
        yield root
    store.passed(root)
    store.write(complete=True)


@contextmanager
def replaying(settings: Settings) -> Iterator[Root]:
    store = GoldenStore(settings)
    with _mode(lambda inner: RecordingClient(store)) as root:
        yield root


@contextmanager
def _mode(wrap: Callable[[Any], RecordingClient]) -> Iterator[Root]:
    clock = FixedClock(NOW)
    before, process.settings = process.settings, None
    with rooted(Root("test", clock=clock, client=wrap(None), wrap=wrap)) as root:
        yield root
    process.settings = before


def texts(settings: Settings) -> str:
    return "\n".join(p.read_text() for p in settings.recordings_folder.rglob("*.json"))


def named(settings: Settings) -> list[str]:
    return sorted(path.stem for path in settings.recordings_folder.rglob("*.json"))
