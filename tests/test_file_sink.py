"""Reviews in files, decided by `stratum review` from other processes."""

import asyncio
import json
import os
import re
import socket
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal
from uuid import uuid4

import pytest
from pydantic import AfterValidator

from stratum import (
    FileSink,
    HumanAnswer,
    HumanReviewContext,
    HumanTimeout,
    PendingReview,
    ReviewError,
    await_human,
    parallel,
)
from stratum.cli import main
from stratum.commands.review.decide import _problems
from stratum.sinks.folder import ReviewFolder
from tests.goldens import stratum

Verdict = Literal["approve", "reject"]
EVIL = "\x1b[2J\u202e\n::error::x"


def review(**more):
    contract = {"type": "string", "enum": ["approve", "reject"]}
    return PendingReview(
        **{"id": str(uuid4()), "question": "Send it?", "contract": contract, **more}
    )


@contextmanager
def asking(folder, **settings):
    """Ask in a thread; gives a list that the decision, or the error, is put into."""
    ended = []

    def ask():
        sink = FileSink(folder, pause=0.02)
        try:
            call = await_human("Send it?", **{"decision": Verdict, "sink": sink, **settings})
            ended.append(call.run())
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    yield ended
    thread.join(20)
    assert not thread.is_alive()


def command(folder, *words):
    """Run `stratum review` on a folder, in this process."""
    out, errors = StringIO(), StringIO()
    where = [] if words[0] == "list" else ["--folder"]
    with redirect_stdout(out), redirect_stderr(errors):
        try:
            code = main(["review", *words, *where, str(folder)])
        except SystemExit as ended:
            code = ended.code
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=errors.getvalue())


def waiting(folder):
    """Wait until a review is open, and return its id."""
    filed = ReviewFolder(Path(folder))
    for _ in range(500):
        for each in filed.ids():
            if filed.read(each).status == "open":
                return each
        threading.Event().wait(0.02)
    raise AssertionError("no review came")


def test_another_process_decides(tmp_path):
    folder = tmp_path / ".stratum" / "reviews"
    with asking(folder) as ended:
        found = waiting(folder)
        listed = stratum(tmp_path, "review", "list")
        decided = stratum(tmp_path, "review", "decide", found[:8], "approve", "--comment", "fine",
                          "--reviewer", "anna")  # fmt: skip
    assert listed.stdout == f"review {found}  open  0 min  Send it?\n1 review open\n"
    assert (decided.returncode, decided.stdout) == (0, f"review {found} decided: approve\n")
    (decision,) = ended
    assert (decision.value, decision.reviewer, decision.comment) == ("approve", "anna", "fine")
    assert decision.review_id == found


def test_a_review_is_shown_in_full(tmp_path):
    context = HumanReviewContext(show={"draft": "Dear"}, opaque={"mail": "hi"}, guidance="Be kind")
    with asking(tmp_path, context=context, timeout=60) as _:
        found = waiting(tmp_path)
        shown = command(tmp_path, "show", found).stdout
        ReviewFolder(tmp_path).decide(found, HumanAnswer(value="reject", reviewer="bo"))
    for line in ("    | Send it?", "    | Be kind", "  draft:\n    | Dear", "  1. approve",
                 "  mail:\n    | hi", "  status: open"):  # fmt: skip
        assert line in shown
    after = command(tmp_path, "show", found).stdout
    assert "  status: decided\n  decision: reject\n  reviewer: bo\n  comment: none\n" in after


def test_the_list_can_be_read_by_programs(tmp_path):
    ReviewFolder(tmp_path).publish(review())
    done = command(tmp_path, "list", "--json")
    (filed,) = json.loads(done.stdout)["reviews"]
    assert (filed["status"], filed["review"]["question"]) == ("open", "Send it?")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (
            ["{id}", "maybe"],
            1,
            "maybe is no decision of this review:\n  choose one of approve, reject",
        ),
        (["{id}", "\x1b"], 1, r"\x1b is no decision"),
        (["0000", "approve"], 2, "has an id that begins with 0000.\n  stratum review list --all"),
        (["../x", "approve"], 2, "'../x' is no beginning of a review's id"),
        (["{id}"], 2, "required: VALUE"),
    ],
    ids=["no choice", "control character", "unknown", "a path", "no value"],
)
def test_what_cannot_be_decided_is_an_error(tmp_path, given, code, said):
    one = review(id="5f0c2b4e-8b0f-5c53-9d0e-1c2d3e4f5a6b")
    ReviewFolder(tmp_path).publish(one)
    words = [word.format(id=one.id) for word in given]
    done = command(tmp_path, "decide", *words)
    assert done.returncode == code
    assert said in done.stderr
    assert ReviewFolder(tmp_path).read(one.id).status == "open"


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("decided", "is already decided: reject by bo."),
        ("withdrawn", "was withdrawn: nobody needs the decision any more."),
        ("expired", "has expired: its time was up before anybody decided."),
    ],
)
def test_a_review_that_ended_cannot_be_decided(tmp_path, ending, said):
    folder, one = ReviewFolder(tmp_path), review()
    folder.publish(one)
    if ending == "decided":
        folder.decide(one.id, HumanAnswer(value="reject", reviewer="bo"))
    else:
        folder.close(one.id, ending)
    done = command(tmp_path, "decide", one.id, "approve")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_review_whose_asker_died_expires_all_the_same(tmp_path):
    folder, one = (
        ReviewFolder(tmp_path),
        review(expires_at=datetime.now(UTC) - timedelta(seconds=1)),
    )
    folder.publish(one)
    assert folder.read(one.id).status == "expired"
    with pytest.raises(ReviewError, match="has expired"):
        folder.decide(one.id, HumanAnswer(value="approve"))


def test_of_two_who_decide_at_once_one_wins(tmp_path):
    folder, one = ReviewFolder(tmp_path), review()
    folder.publish(one)
    barrier, outcomes = threading.Barrier(8), []

    def decide(number):
        barrier.wait()
        try:
            folder.decide(one.id, HumanAnswer(value="approve", reviewer=str(number)))
            outcomes.append(number)
        except ReviewError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=decide, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [each for each in outcomes if isinstance(each, int)]
    assert folder.ended(one.id).answer.reviewer == str(winner)
    assert all("already decided" in each for each in outcomes if each != winner)
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.name != ".gitignore") == [".json"] * 2


def test_a_decision_that_only_the_asker_can_judge_is_asked_for_again(tmp_path):
    def even(number: int) -> int:
        if number % 2:
            raise ValueError("an even number, please")
        return number

    with asking(tmp_path, decision=Annotated[int, AfterValidator(even)]) as ended:
        found = waiting(tmp_path)
        assert command(tmp_path, "decide", found, "3").returncode == 0
        while not ReviewFolder(tmp_path).read(found).problems:
            threading.Event().wait(0.02)
        shown = command(tmp_path, "show", found).stdout
        assert command(tmp_path, "decide", found, "4").returncode == 0
    assert "the last decision did not fit: " in shown
    assert "an even number, please" in shown
    assert ended[0].value == 4


@pytest.mark.parametrize(
    ("contract", "value", "said"),
    [
        ({"type": "integer", "minimum": 3}, 2, "value: 2 is less than the minimum of 3"),
        ({"type": "object", "required": ["a"]}, {}, "value: 'a' is a required property"),
        ({"$ref": "http://127.0.0.1:9/x"}, 2, "its contract cannot be read"),
        ({"type": 3}, 2, "its contract cannot be read"),
    ],
    ids=["bound", "field", "a schema elsewhere", "no schema"],
)
def test_a_decision_is_held_to_the_stored_schema(contract, value, said):
    assert said in _problems(value, review(contract=contract))[0]


def test_a_review_whose_time_is_up_is_closed(tmp_path):
    with asking(tmp_path, timeout=0.2) as ended:
        waiting(tmp_path)
    assert isinstance(ended[0], HumanTimeout)
    (found,) = ReviewFolder(tmp_path).ids()
    assert ReviewFolder(tmp_path).read(found).status == "expired"
    assert command(tmp_path, "list").stdout == "0 reviews open\n"
    assert f"review {found}  expired" in command(tmp_path, "list", "--all").stdout


async def test_a_cancelled_review_is_withdrawn(tmp_path):
    call = await_human("Send it?", decision=Verdict, sink=FileSink(tmp_path, pause=0.02))
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    (found,) = ReviewFolder(tmp_path).ids()
    assert ReviewFolder(tmp_path).read(found).status == "withdrawn"


async def test_two_identical_reviews_are_two_files(tmp_path):
    folder = ReviewFolder(tmp_path)

    async def person():
        while len(folder.ids()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for each in folder.ids():
            place = folder.read(each).review.place
            folder.decide(each, HumanAnswer(value="approve" if place == "0#0" else "reject"))

    sink = FileSink(tmp_path, pause=0.02)
    first, second, _ = await parallel(
        await_human("Send it?", decision=Verdict, sink=sink),
        await_human("Send it?", decision=Verdict, sink=sink),
        person(),
    )
    assert (first.value, second.value) == ("approve", "reject")


# What a later process finds


async def test_a_decision_that_was_not_taken_is_found_again(tmp_path):
    sink, one = FileSink(tmp_path, pause=0.02), review()
    await sink.submit(one)
    ReviewFolder(tmp_path).decide(one.id, HumanAnswer(value="approve"))
    later = FileSink(tmp_path, pause=0.02)
    await later.submit(one)
    assert (await later.decision(one.id)).value == "approve"


async def test_a_decision_that_was_taken_answers_no_later_question(tmp_path):
    sink, one = FileSink(tmp_path, pause=0.02), review()
    await sink.submit(one)
    ReviewFolder(tmp_path).decide(one.id, HumanAnswer(value="approve"))
    await sink.close(one.id, "decided")
    await sink.submit(one)
    assert ReviewFolder(tmp_path).read(one.id).status == "open"


async def test_a_review_that_waits_is_published_once(tmp_path):
    one = review(asked_at=datetime(2026, 1, 1, tzinfo=UTC))
    await FileSink(tmp_path).submit(one)
    await FileSink(tmp_path).submit(one.model_copy(update={"asked_at": datetime.now(UTC)}))
    assert ReviewFolder(tmp_path).read(one.id).review.asked_at.year == 2026
    assert ReviewFolder(tmp_path).read(one.id).review == one


# What a hostile folder cannot do


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"review": {"id": "x"}}', "[" * 100, '{"a": 1, "a": 2}', "\xff"],
    ids=["cut", "a list", "no fields", "deep", "a key twice", "not UTF-8"],
)
def test_a_broken_file_is_named_and_hides_no_other(tmp_path, content):
    folder, one, broken = ReviewFolder(tmp_path), review(), str(uuid4())
    folder.publish(one)
    text = content.encode("latin-1")
    (tmp_path / f"{broken}.review.json").write_bytes(text)
    done = command(tmp_path, "list")
    assert done.returncode == 2
    assert f"{broken}.review.json is no review of ours" in done.stderr
    assert one.id in done.stdout


def test_a_large_file_is_neither_read_nor_written(tmp_path):
    folder, one = ReviewFolder(tmp_path), review()
    folder.publish(one)
    with (tmp_path / f"{one.id}.review.json").open("a") as file:
        file.write(" " * 9_000_000)
    with pytest.raises(ReviewError, match="it is over 8 MB"):
        folder.read(one.id)
    with pytest.raises(ReviewError, match="would be over 8 MB; show the person less"):
        folder.publish(review(context={"scan": "x" * 9_000_000}))


def test_a_stored_schema_makes_nobody_fetch_anything():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.setdefaulttimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        try:
            assert "cannot be read" in _problems(2, review(contract={"$ref": url}))[0]
        finally:
            socket.setdefaulttimeout(None)
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_file_of_another_id_is_no_review(tmp_path):
    folder, one, other = ReviewFolder(tmp_path), review(), str(uuid4())
    folder.publish(one)
    (tmp_path / f"{one.id}.review.json").rename(tmp_path / f"{other}.review.json")
    with pytest.raises(ReviewError, match="holds a review of another id"):
        folder.read(other)


def test_links_are_not_followed(tmp_path):
    outside, folder, one = tmp_path / "secret.json", tmp_path / "reviews", review()
    ReviewFolder(folder).publish(one)
    (folder / f"{one.id}.review.json").rename(outside)
    os.symlink(outside, folder / f"{one.id}.review.json")
    with pytest.raises(ReviewError, match="is no review of ours"):
        ReviewFolder(folder).read(one.id)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "", "x" * 36, "5F0C2B4E-8B0F-5C53-9D0E-1C2D3E4F5A6B"]
)
def test_an_id_is_a_uuid(tmp_path, name):
    with pytest.raises(ReviewError, match="is no review's id"):
        ReviewFolder(tmp_path).read(name)


def test_what_is_shown_cannot_steer_a_terminal(tmp_path):
    one = review(question=EVIL, guidance=EVIL, context={EVIL: EVIL}, function=EVIL)
    folder = ReviewFolder(tmp_path)
    folder.publish(one)
    texts = [command(tmp_path, "list").stdout]
    texts += [command(tmp_path, "show", one.id).stdout]
    folder.decide(one.id, HumanAnswer(value=EVIL, reviewer=EVIL, comment=EVIL))
    texts += [command(tmp_path, "show", one.id).stdout]
    texts += [command(tmp_path, "decide", one.id, "approve").stderr]
    for text in texts:
        assert not re.search("[\x1b\u202e]|^::error", text, re.MULTILINE), text


def test_nobody_else_reads_the_folder_and_git_ignores_it(tmp_path):
    ReviewFolder(tmp_path / "reviews").publish(review())
    assert (tmp_path / "reviews").stat().st_mode & 0o077 == 0
    assert (tmp_path / "reviews" / ".gitignore").read_text() == "*\n"


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "reviews").write_text("a file")
    with pytest.raises(ReviewError, match="cannot be made"):
        ReviewFolder(tmp_path / "reviews").publish(review())


def test_no_folder_is_no_review(tmp_path):
    done = stratum(tmp_path, "review", "list")
    assert (done.returncode, done.stdout) == (0, "0 reviews open\n")
