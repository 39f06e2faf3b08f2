"""`cache="session"` and `cache="global"` in production, without pytest's modes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratum import PostconditionFailed, Reply, StratumWarning, Usage, infer, using
from stratum.clocks import FixedClock
from stratum.recording.disk import DiskCache
from stratum.roots import Root
from stratum.scope import process, rooted
from stratum.settings import NOW, Settings
from tests.scripted import answering, records
from tests.support import clean_environment, project


class Live:
    """A live client that answers from a list and counts what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.asked = 0
        self._answers = iter(answers)

    async def complete(self, request: Any) -> Reply:
        self.asked += 1
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Reply):
            return answer
        return Reply({"value": answer}, Usage(10, 5), "live", cost=0.001)

    async def quote(self, request: Any) -> Any:
        raise AssertionError("nobody asked what it costs")


@infer(intent="Answer", cache="session", ensure=lambda r: r != "bad")
def kept(text: str) -> str: ...


@infer(intent="Answer", cache="global", ensure=lambda r: r != "bad")
def kept_on_disk(text: str) -> str: ...


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let the process be a project of its own."""
    monkeypatch.setattr(process, "settings", Settings(tmp_path))
    monkeypatch.setattr(process, "disk_memory", None)
    monkeypatch.setattr(process, "secrets_from", None)
    yield tmp_path
    if process.disk_memory is not None:
        process.disk_memory._cache.close()


def answers_on_disk(folder: Path) -> list[str]:
    cache = DiskCache(folder / ".stratum" / "cache")
    found = cache.keys("answer:")
    cache.close()
    return found


BOTH = pytest.mark.parametrize("ask", [kept, kept_on_disk], ids=["session", "global"])


@BOTH
def test_the_same_call_is_asked_once(folder: Path, ask: Any) -> None:
    client = Live("one", "two")
    with using(client=client, model="m"):
        assert [ask.run("a"), ask.run("a"), ask.run("b")] == ["one", "one", "two"]
    assert client.asked == 2
    assert [record.origin for record in records()] == ["live", "cached", "live"]
    assert records()[1].place is None


@BOTH
def test_another_model_is_another_call(folder: Path, ask: Any) -> None:
    with using(client=Live("one", "two")):
        assert [ask.with_(model=model).run("a") for model in ("m", "n", "m")] == [
            "one",
            "two",
            "one",
        ]


@BOTH
def test_a_rejected_answer_is_never_served(folder: Path, ask: Any) -> None:
    client = Live("bad", "good")
    with using(client=client, model="m"):
        with pytest.raises(PostconditionFailed):
            ask.with_(retries=0).run("a")
        assert ask.with_(retries=0).run("a") == "good"
    assert client.asked == 2


@BOTH
@pytest.mark.parametrize(
    "failure",
    [Reply("no", outcome="refused"), Reply("", outcome="cut"), RuntimeError("down")],
    ids=["refused", "cut", "error"],
)
def test_errors_and_refusals_are_never_served(folder: Path, ask: Any, failure: Any) -> None:
    with using(client=Live(failure, "good"), model="m"):
        with pytest.raises(Exception, match=r"declined|max_tokens|down"):
            ask.run("a")
        assert ask.run("a") == "good"


@BOTH
def test_a_call_that_needed_a_retry_is_served_whole(folder: Path, ask: Any) -> None:
    client = Live("bad", "good")
    with using(client=client, model="m"):
        assert [ask.run("a"), ask.run("a")] == ["good", "good"]
    assert client.asked == 2
    assert [record.attempts for record in records()] == [2, 2]


@BOTH
def test_an_answer_that_a_new_condition_rejects_is_asked_again(folder: Path, ask: Any) -> None:
    @infer(intent="Answer", cache=ask.question.cache, ensure=lambda r: r != "one")
    def stricter(text: str) -> str: ...

    with using(client=Live("one", "two"), model="m"):
        assert ask.run("a") == "one"
        assert stricter.run("a") == "two"


def test_without_the_setting_nothing_is_remembered(folder: Path) -> None:
    with using(client=Live("one", "two"), model="m"):
        assert [kept.with_(cache="none").run("a") for _ in range(2)] == ["one", "two"]


def test_session_leaves_nothing_on_disk(folder: Path) -> None:
    with using(client=Live("one"), model="m"):
        kept.run("a")
    assert list(folder.iterdir()) == []


@BOTH
def test_scripted_answers_are_remembered_in_memory_only(folder: Path, ask: Any) -> None:
    with answering("one", "two") as client:
        assert [ask.run("a"), ask.run("a")] == ["one", "one"]
    assert len(client.requests) == 1
    assert list(folder.iterdir()) == []


def test_a_scripted_answer_does_not_come_from_the_disk(folder: Path) -> None:
    with using(client=Live("live"), model="test/model"):
        kept_on_disk.run("a")
    with answering("scripted"):
        assert kept_on_disk.run("a") == "scripted"


@BOTH
def test_a_scripted_client_remembers_under_a_mode_too(folder: Path, ask: Any) -> None:
    replaying = Root("a test", clock=FixedClock(NOW), client=Live())
    with rooted(replaying), answering("one", "two"):
        assert [ask.run("a"), ask.run("a")] == ["one", "one"]


@BOTH
def test_under_a_mode_a_live_client_is_not_answered_from_memory(folder: Path, ask: Any) -> None:
    with using(client=Live("outside"), model="m"):
        ask.run("a")
    recording = Live("one", "two")
    root = Root("a test", clock=FixedClock(NOW), client=recording, model="m")
    with rooted(root):
        assert [ask.run("a"), ask.run("a")] == ["one", "two"], "the mode's own client remembers"


def test_one_test_does_not_remember_for_another(folder: Path) -> None:
    for answer in ("one", "two"):
        with rooted(Root("a test")), answering(answer):
            assert kept.run("a") == answer


def test_secrets_in_an_answer_do_not_reach_the_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "tok-1234567890ab")
    with using(client=Live("is tok-1234567890ab"), model="m"):
        kept_on_disk.run("a")
        assert kept_on_disk.run("a") == "is <secret:SHOP_TOKEN>"
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"tok-1234567890ab" not in written


def test_an_answer_that_the_disk_does_not_take_is_not_lost(folder: Path) -> None:
    (folder / ".stratum").write_text("a file in the way")
    with using(client=Live("one"), model="m"), pytest.warns(StratumWarning) as caught:
        assert kept_on_disk.run("a") == "one"
    assert "kept_on_disk: its answer is not remembered." in str(caught[0].message)


def test_the_disk_holds_the_answer_under_the_calls_key(folder: Path) -> None:
    with using(client=Live("one"), model="m"):
        kept_on_disk.run("a")
    assert answers_on_disk(folder) == [f"answer:{records()[0].calls[0].key}"]


APP = """
    import sys
    import stratum
    from stratum import Reply, Usage, infer

    class Live:
        async def complete(self, request):
            print("asked", request.prompt.text)
            return Reply({"value": sys.argv[1]}, Usage(1, 1), "live", cost=0.0)

        async def quote(self, request):
            return stratum.Quote(1, 0.0, 0.0)

    stratum.configure(client=Live(), model="m")

    @infer(intent="Answer", cache="global", ensure=lambda r: r != "bad", retries=0)
    def on_disk(text: str) -> str: ...

    @infer(intent="Answer", cache="session")
    def in_memory(text: str) -> str: ...

    try:
        print(on_disk.run("a"), on_disk.run("a"))
    except stratum.PostconditionFailed:
        print("rejected")
    print(in_memory.run("b"), in_memory.run("b"))
"""


def test_global_outlives_the_process_and_session_does_not(tmp_path: Path) -> None:
    folder = project(tmp_path, {"app.py": APP})

    def run(answer: str) -> list[str]:
        command = [sys.executable, "-W", "error", "app.py", answer]
        done = subprocess.run(
            command, cwd=folder, env=clean_environment(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert run("bad") == ["asked text: a", "rejected", "asked text: b", "bad bad"]
    assert run("one") == ["asked text: a", "one one", "asked text: b", "one one"]
    assert run("two") == ["one one", "asked text: b", "two two"]
    assert json.dumps(answers_on_disk(folder)).count("answer:") == 1
