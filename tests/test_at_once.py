"""`.run()` of a call whose answer is at hand: made in the caller's own thread."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from stratum import NotAwaited, ScriptedClient, carry, infer, using
from stratum.at_once import run_at_once
from stratum.clients.scripted import Scripted
from stratum.clocks import FixedClock
from stratum.recording.client import RecordingClient
from stratum.recording.store import GoldenStore
from stratum.roots import Root
from stratum.scope import continued, rooted
from stratum.settings import Settings
from tests.scripted import MODEL, answering, records
from tests.support import clean_environment

word: ContextVar[str] = ContextVar("word", default="before")


@infer(intent="Say something", model=MODEL)
def say(text: str) -> str: ...


def saying(ensure: Callable[[str], bool]) -> Any:
    """Return the function with a condition that looks around."""

    def say(text: str) -> str: ...

    return infer(intent="Say something", model=MODEL, ensure=ensure)(say)


def seen(look: Callable[[], Any], client: Any) -> Any:
    """Return what a condition sees while a call is made through `.run()`."""
    found: list[Any] = []
    with using(client=client):
        saying(lambda r: not found.append(look())).run(text="a")
    return found[0]


async def slowly(request: Any) -> str:
    await asyncio.sleep(0)
    return "b"


def test_it_is_made_in_the_callers_thread() -> None:
    assert seen(threading.get_ident, ScriptedClient(["b"])) == threading.get_ident()


def test_a_call_that_may_wait_is_made_on_the_background_loop() -> None:
    assert seen(lambda: threading.current_thread().name, ScriptedClient(slowly)) == "stratum"


def test_a_loop_runs_in_it_that_another_run_would_block() -> None:
    def look() -> str:
        with pytest.raises(NotAwaited) as caught:
            say.run(text="within")
        return str(caught.value)

    assert seen(look, ScriptedClient(["b", "c"])) == (
        "say.run() was called inside a running event loop, which it would block.\n"
        "  Write `await say(...)` there."
    )


def test_no_loop_runs_after_it() -> None:
    seen(lambda: None, ScriptedClient(["b"]))
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_it_changes_no_context_of_its_caller() -> None:
    seen(lambda: word.set("within"), ScriptedClient(["b"]))
    assert word.get() == "before"


def test_it_sees_the_context_of_its_caller() -> None:
    token = word.set("around")
    assert seen(word.get, ScriptedClient(["b"])) == "around"
    word.reset(token)


def test_one_that_waits_after_all_is_finished() -> None:
    with answering(Scripted("b", delay=0.01), Scripted("c", delay=0.01)) as client:
        assert [say.run(text="a"), say.run(text="a")] == ["b", "c"]
    assert [str(request.place) for request in client.requests] == ["#0", "#1"]


def test_a_retry_after_a_wait_is_made_at_the_same_place() -> None:
    with answering(Scripted(1, delay=0.01), "b") as client:
        assert say.run(text="a") == "b"
    assert [str(request.place) for request in client.requests] == ["#0", "#0"]


def test_calls_after_a_wait_are_on_the_same_branch() -> None:
    async def twice() -> None:
        await say(text="a")
        await asyncio.sleep(0)
        await say(text="a")

    with answering("b", "c") as client, ThreadPoolExecutor(1) as pool:
        pool.submit(carry(lambda: run_at_once("twice", continued(), twice))).result()
    assert [str(request.place) for request in client.requests] == ["#0", "#1"]


def test_an_error_after_a_wait_is_raised_and_traced() -> None:
    with answering(Scripted(1, delay=0.01)), pytest.raises(Exception, match="no answer left"):
        say.run(text="a")
    assert [record.outcome for record in records()] == ["error"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs an alarm")
def test_ctrl_c_ends_one_that_waits() -> None:
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with answering(Scripted("b", delay=60), "c"):
            with pytest.raises(KeyboardInterrupt):
                say.run(text="a")
            assert say.run(text="a") == "c"
    finally:
        signal.signal(signal.SIGALRM, before)
    assert [record.outcome for record in records()] == ["cancelled", "ok"]


@contextmanager
def replaying(folder: Path, *texts: str, function: Any = say) -> Iterator[GoldenStore]:
    """Record the calls, and let the block replay them."""
    settings = Settings(root=folder)
    store, clock = GoldenStore(settings), FixedClock(settings.now)
    echo = ScriptedClient(lambda request: request.shown.text.removeprefix("text: ").upper())
    with rooted(Root("record", clock, RecordingClient(store, echo))) as root:
        for text in texts:
            function.run(text=text)
    store.passed(root)
    store.write(complete=True)
    replayed = GoldenStore(settings)
    with rooted(Root("replay", clock, RecordingClient(replayed))):
        yield replayed


def test_threads_replay_side_by_side(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(200)]
    with replaying(tmp_path, *texts) as store, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: say.run(text=text), texts)) == [t.upper() for t in texts]
    assert store.counts.replayed == len(texts)


def test_a_replayed_call_is_made_in_the_callers_thread(tmp_path: Path) -> None:
    threads: list[int] = []
    watched = saying(lambda r: not threads.append(threading.get_ident()))
    with replaying(tmp_path, "a", function=watched):
        watched.run(text="a")
    recorded, replayed = threads
    assert (recorded != replayed, replayed) == (True, threading.get_ident())


UNWARNED = """
from stratum import ScriptedClient, infer, using
from stratum.clients.scripted import Scripted

@infer(intent="Say something", model="test/model")
def say(text: str) -> str: ...

with using(client=ScriptedClient([Scripted("b", delay=0.01), "c"])):
    print(say.run(text="a"), say.run(text="a"))
"""


def test_nothing_is_left_open_at_exit() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", UNWARNED],
        env=clean_environment(None),
        capture_output=True,
        text=True,
    )
    assert (ended.stdout, ended.stderr) == ("b c\n", "")
