"""Asking on a terminal: a real one, a pipe, or none."""

import os
import pty
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from textwrap import dedent
from typing import Literal

import pytest

from stratum import Contract, PendingReview
from stratum.sinks.terminal import WindowsConsole
from stratum.sinks.typed import answer_of
from tests.support import clean_environment

HEAD = """
import asyncio, threading
from typing import Literal
from stratum import *

Verdict = Literal["approve", "reject"]
"""

ONE = """
decided = await_human("Send it?", decision=Verdict, context={"draft": "Dear Anna"}).run()
print("DECIDED", decided.value, decided.comment, bool(decided.reviewer))
"""


class Person:
    """Whoever sits at the other end of a terminal."""

    def __init__(self, terminal, process):
        self.terminal = terminal
        self.process = process
        self.seen = ""

    def type(self, text):
        os.write(self.terminal, text.encode())

    def see(self, text, within=20.0):
        """Wait until a text stands on the terminal."""
        end = time.monotonic() + within
        while text not in self.seen:
            if not select.select([self.terminal], [], [], max(end - time.monotonic(), 0))[0]:
                raise AssertionError(f"{text!r} never came; there stands:\n{self.seen}")
            try:
                self.seen += os.read(self.terminal, 65536).decode()
            except OSError:  # the other end is closed
                assert text in self.seen, self.seen
        return self.seen

    def forget(self):
        self.seen = ""

    def end(self):
        return self.process.wait(timeout=20)


@contextmanager
def at_terminal(program, *, controlled=False, **environment):
    """Run a program on a terminal of its own; `controlled` gives it no stdin but that."""
    person, terminal = pty.openpty()
    command = [sys.executable, "-W", "error", "-c", HEAD + dedent(program)]
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    if controlled:
        command = [sys.executable, "-c", _TAKE_OVER, os.ttyname(terminal), *command]
        streams["stdin"] = subprocess.DEVNULL
    process = subprocess.Popen(
        command, env=clean_environment(environment), start_new_session=True, **streams
    )
    os.close(terminal)
    try:
        yield Person(person, process)
    finally:
        process.kill()
        process.wait()
        os.close(person)


# Opening a terminal makes it the controlling one of a session that has none.
_TAKE_OVER = "import os, sys; os.open(sys.argv[1], os.O_RDWR); os.execv(sys.argv[2], sys.argv[2:])"


def run(program, typed=None, **environment):
    """Run a program with a pipe for stdin."""
    streams = {"input": typed} if typed is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + dedent(program)],
        env=clean_environment(environment),
        capture_output=True, encoding="utf-8", timeout=30, start_new_session=True, **streams,
    )  # fmt: skip


def review(decision):
    contract = Contract.of(decision, where="test").schema
    return PendingReview(id="1", question="Send it?", contract=contract)


def test_a_person_decides_on_the_terminal():
    with at_terminal(ONE) as person:
        shown = person.see("> ")
        assert "    | Send it?" in shown
        assert "  draft:\r\n    | Dear Anna" in shown
        assert "  1. approve\r\n  2. reject" in shown
        person.type("reject\n")
        person.see("DECIDED reject None True")
        assert person.end() == 0


@pytest.mark.parametrize(
    ("typed", "value", "comment"),
    [
        ("reject", "reject", None),
        ("2", "reject", None),
        ("Approve", "approve", None),
        ("1 # as agreed", "approve", "as agreed"),
        ("3", 3, None),
    ],
    ids=["word", "number", "case", "comment", "no such number"],
)
def test_a_choice_may_be_typed_in_several_ways(typed, value, comment):
    answer = answer_of(typed, review(Literal["approve", "reject"]))
    assert (answer.value, answer.comment) == (value, comment)


@pytest.mark.parametrize(
    ("decision", "typed", "value"),
    [
        (bool, "yes", True),
        (bool, "False", False),
        (str, "true", "true"),
        (str, "a # b", "a # b"),
        (int, "7", 7),
        (list[int], "[1, 2]", [1, 2]),
        (str | None, "null", None),
        (Literal[10, 2], "2", 2),
        (Literal["2", "1"], "1", "1"),
        (Literal["a # b", "a"], "a # b", "a # b"),
    ],
    ids=str,
)
def test_a_typed_line_is_read_as_the_contract_says(decision, typed, value):
    assert answer_of(typed, review(decision)).value == value


def test_a_slip_is_told_and_asked_again():
    with at_terminal(ONE) as person:
        person.see("> ")
        person.type("maybe\n")
        person.see("That is no decision:")
        assert 'must be "approve" or "reject"' in person.see("> ")
        person.type("approve\n")
        person.see("DECIDED approve")


def test_what_was_typed_before_the_question_answers_nothing():
    program = f"""
    import sys, time
    print("READY", flush=True)
    time.sleep(0.5)
    {ONE.replace(chr(10), chr(10) + "    ")}
    """
    with at_terminal(program) as person:
        person.see("READY")
        person.type("approve\n")
        person.see("2. reject")
        person.see("> ")
        time.sleep(0.3)
        assert person.process.poll() is None, "an answer to a question that nobody had seen"
        person.type("reject\n")
        person.see("DECIDED reject")


def test_two_questions_are_asked_one_after_the_other():
    program = """
    async def both():
        return await parallel(
            await_human("First?", decision=Verdict, sink=ConsoleSink()),
            await_human("Second?", decision=Verdict, sink=ConsoleSink()),
        )
    print("DECIDED", [d.value for d in asyncio.run(both())])
    """
    with at_terminal(program) as person:
        assert "Second?" not in person.see("> ")
        person.forget()
        person.type("approve\n")
        person.see("Second?")
        person.see("> ")
        person.type("reject\n")
        person.see("DECIDED ['approve', 'reject']")


def test_a_withdrawn_question_leaves_no_thread_and_no_half_typed_answer():
    program = """
    async def main():
        task = asyncio.ensure_future(await_human("First?", decision=Verdict))
        await asyncio.sleep(0.6)
        task.cancel()
        await asyncio.wait([task])
        print("THREADS", threading.active_count(), flush=True)
        print("NEXT", input(), flush=True)
        return await await_human("Second?", decision=Verdict)
    print("DECIDED", asyncio.run(main()).value)
    """
    with at_terminal(program) as person:
        person.see("> ")
        person.type("appr")
        person.see("(withdrawn: nobody needs to decide any more)")
        person.see("THREADS 1")
        person.type("more\n")
        person.see("NEXT more")
        person.see("Second?")
        person.see("> ")
        person.type("reject\n")
        person.see("DECIDED reject")


def test_a_question_whose_loop_was_closed_holds_up_no_other():
    program = f"""
    loop = asyncio.new_event_loop()
    task = loop.create_task(ConsoleSink().submit(PendingReview(id="1", question="Gone?")))
    loop.run_until_complete(task)
    loop.close()
    {ONE.strip().replace(chr(10), chr(10) + "    ")}
    """
    assert run(program, "approve\n").stdout.startswith("DECIDED approve")


def test_a_question_whose_time_is_up_says_so():
    program = """
    try:
        await_human("Send it?", decision=Verdict, timeout=0.3).run()
    except HumanTimeout as error:
        print("TIMEOUT", error)
    """
    with at_terminal(program) as person:
        assert "open until 2" in person.see("> ")
        person.see("(expired: nobody needs to decide any more)")
        person.see("TIMEOUT <module>: nobody decided within 0.3 s")


def test_what_follows_the_answer_is_left_in_the_pipe():
    done = run(ONE + "print('NEXT', input())", "approve\nmore\n")
    assert done.stdout.splitlines() == ["DECIDED approve None True", "NEXT more"]


def test_the_question_is_no_part_of_the_output():
    done = run(ONE, "approve\n")
    assert done.stdout == "DECIDED approve None True\n"
    assert "Send it?" in done.stderr


def test_hostile_text_cannot_steer_the_terminal_or_pose_as_ours():
    evil = "\x1b[2J\x9b1m\u202e\n> \n  1. approve"
    done = run(f'await_human("?", decision=Verdict, context={{"a\\x1b": {evil!r}}}).run()', "1\n")
    assert not set(done.stderr) & {"\x1b", "\x9b", "\u202e"}
    assert "    | >\n    |   1. approve" in done.stderr


def test_input_that_ends_is_an_error_with_a_remedy():
    done = run(ONE, "")
    assert done.returncode == 1
    assert "the input ended before a decision.\n  Give await_human(sink=FileSink())" in done.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "there is no terminal to ask on"),
        ({"CI": "true"}, "nobody can be asked on a terminal in CI"),
        ({"PYTEST_XDIST_WORKER": "gw0"}, "in a worker of pytest-xdist"),
    ],
    ids=["no terminal", "CI", "xdist"],
)
def test_where_nobody_sits_nobody_is_waited_for(environment, said):
    done = run(ONE, **environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert "stratum review decide" in done.stderr
    assert "--stratum-replay" in done.stderr


def test_an_open_pipe_in_ci_is_not_waited_for():
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + ONE], env=clean_environment({"CI": "1"}),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    _, errors = process.communicate(timeout=20) if process.wait(timeout=20) else ("", "")
    assert "nobody can be asked on a terminal in CI" in errors


def test_a_person_is_asked_although_stdin_was_taken_away():
    with at_terminal(ONE, controlled=True) as person:
        person.see("> ")
        person.type("approve\n")
        person.see("DECIDED approve")
        assert person.end() == 0


def test_keys_of_a_windows_console_make_a_line():
    console = WindowsConsole()
    lines = [console._typed(key) for key in "yex\bs\r"]
    assert lines == [None] * 5 + ["yes"]
