"""Recording in many processes: each call is asked once, and no kill loses what was paid."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from stratum.testing.local_model import LocalModel
from tests.support import asked, clean_environment, files_below, project, run_pytest

KILLS = int(os.environ.get("STRATUM_KILLS", "3"))  # rounds of each kill; 20 before a release

SLOW = """\
import asyncio
import os
import random
from pathlib import Path
import stratum


class Live:
    async def complete(self, request):
        with Path(__file__).with_name("asked.txt").open("a", encoding="utf-8") as file:
            file.write(f"{request.key} {request.place}" + chr(10))
        await asyncio.sleep(0.01)
        chosen = random.randrange(10**9) if os.environ.get("AT_RANDOM") else len(request.shown.text)
        return stratum.Reply({"value": chosen}, stratum.Usage(10, 5), "stand-in", cost=0.001)

    async def quote(self, request):
        return stratum.Quote(10, 1.0, 1.0)


stratum.configure(client=Live())
"""

TESTS = """\
import os
import pytest
from stratum import infer, parallel

@infer(intent="Count")
def count(text: str) -> int: ...

@pytest.fixture(scope="session")
def shared():
    return count.run(text="shared")

@pytest.mark.parametrize("number", range(30))
def test_calls(number, shared, golden):
    first = count.run(text=f"text {number % 10}")
    two = parallel(count(text="same"), count(text="same"), count(text=f"other {number % 4}")).run()
    assert [shared, first, *two] == golden
    if number == 17 and os.environ.get("CRASH"):
        os.kill(os.getpid(), 9)
"""

CALLS = 1 + 10 + 2 + 4  # each key and place of TESTS


def suite(folder: Path) -> Path:
    return project(folder, {"conftest.py": SLOW, "test_calls.py": TESTS})


def record(folder: Path, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return run_pytest(folder, "-q", "-p", "no:cacheprovider", "--stratum-record", *args, env=env)


def replay(folder: Path) -> "subprocess.CompletedProcess[str]":
    return run_pytest(folder, "-q", "-n0", "-p", "no:cacheprovider", "--stratum-replay")


def test_one_process_and_four_write_the_same_bytes(tmp_path: Path) -> None:
    alone, many = suite(tmp_path / "alone"), suite(tmp_path / "many")
    assert record(alone, "-n0").returncode == 0
    run = record(many, "-n4")
    assert f"{CALLS} calls recorded" in run.stdout
    assert files_below(many / "golden") == files_below(alone / "golden")
    assert len(asked(many)) == len(set(asked(many))) == CALLS


def test_what_four_processes_recorded_at_random_replays_in_one(tmp_path: Path) -> None:
    folder = suite(tmp_path)
    assert record(folder, "-n4", AT_RANDOM="1").returncode == 0
    before = files_below(folder / "golden")
    run = replay(folder)
    assert run.returncode == 0, run.stdout
    assert record(folder, "-n3", AT_RANDOM="1").returncode == 0
    assert (files_below(folder / "golden"), len(asked(folder))) == (before, CALLS)


def test_a_crashed_worker_loses_nothing_and_forbids_pruning(tmp_path: Path) -> None:
    folder = suite(tmp_path)
    run = record(folder, "-n2", "--stratum-prune", CRASH="1")
    assert run.returncode == 1
    assert "nothing was pruned" in run.stdout
    assert len(asked(folder)) == len(set(asked(folder)))
    assert record(folder, "-n2").returncode == 0
    assert len(asked(folder)) == len(set(asked(folder))) == CALLS
    assert replay(folder).returncode == 0


def test_questions_of_real_size_are_the_same_from_one_process_and_four(tmp_path: Path) -> None:
    with LocalModel() as model:
        folders = [questions(tmp_path / name) for name in ("alone", "many")]
        env = {"OPENAI_API_BASE": model.base_url, "OPENAI_API_KEY": "local"}
        runs = [record(f, n, **env) for f, n in zip(folders, ("-n0", "-n4"), strict=True)]
        assert [run.returncode for run in runs] == [0, 0], runs[1].stdout
        sent = Counter(json.dumps(body["messages"]) for body in model.requests)
    assert set(sent.values()) == {2}
    assert files_below(folders[0] / "golden") == files_below(folders[1] / "golden")


def questions(folder: Path) -> Path:
    """Write a suite that sorts real questions where the machine has them, else made ones."""
    sample = Path(os.environ.get("STRATUM_QUESTIONS", ""))
    texts = [f"Question {n}: when does my card {n % 7} arrive?" for n in range(40)]
    intents = [f"card_{n}" for n in range(7)]
    if sample.is_file():
        rows = list(csv.DictReader(sample.read_text(encoding="utf-8").splitlines()))
        texts = [row["text"] for row in rows[:500]]
        intents = sorted({row["category"] for row in rows})
    (folder / "x").mkdir(parents=True)
    (folder / "questions.json").write_text(json.dumps({"texts": texts, "intents": intents}))
    test = """\
    import json
    from pathlib import Path
    from typing import Literal
    import pytest
    from stratum import infer

    DATA = json.loads(Path(__file__).with_name("questions.json").read_text())
    Intent = Literal[tuple(DATA["intents"])]

    @infer(intent="Name the intent", model="openai/stratum-local-rules")
    def sort(text: str) -> Intent: ...

    @pytest.mark.parametrize("number", range(len(DATA["texts"])))
    def test_question(number):
        assert sort.run(text=DATA["texts"][number]) in DATA["intents"]
    """
    return project(folder, {"test_questions.py": test})


# Kills


def started(folder: Path, *args: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider",
         "--stratum-record", *args],
        cwd=folder, env=clean_environment(), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip


def wait_for_calls(folder: Path, run: "subprocess.Popen[str]", calls: int) -> None:
    deadline = time.monotonic() + 60
    while len(asked(folder)) < calls and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def workers_of(run: "subprocess.Popen[str]") -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(run.pid)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


def assert_nothing_was_lost(folder: Path, *, in_flight: int) -> None:
    """Record to the end; no call was asked twice, but those in flight at the kill."""
    for path in (folder / "golden").rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    run = record(folder, "-n0")
    assert run.returncode == 0, run.stdout
    again = sum(times - 1 for times in Counter(asked(folder)).values())
    assert again <= in_flight
    assert len(set(asked(folder))) == CALLS
    assert replay(folder).returncode == 0


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_run_loses_no_stored_reply(tmp_path: Path, seed: int) -> None:
    folder = suite(tmp_path)
    run = started(folder, "-n0")
    wait_for_calls(folder, run, random.Random(seed).randrange(1, CALLS))
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert_nothing_was_lost(folder, in_flight=3)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_worker_loses_no_stored_reply(tmp_path: Path, seed: int) -> None:
    folder = suite(tmp_path)
    run = started(folder, "-n2")
    wait_for_calls(folder, run, random.Random(seed).randrange(1, CALLS))
    for pid in workers_of(run)[:1]:
        os.kill(pid, signal.SIGKILL)
    said, _ = run.communicate(timeout=60)
    assert re.search(r"crashed|passed", said)
    assert_nothing_was_lost(folder, in_flight=3)


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_controller_loses_no_stored_reply(tmp_path: Path, seed: int) -> None:
    folder = suite(tmp_path)
    run = started(folder, "-n2")
    wait_for_calls(folder, run, random.Random(seed).randrange(1, CALLS))
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    time.sleep(0.2)  # its workers notice that nobody listens
    with_workers = 2 * 3
    assert_nothing_was_lost(folder, in_flight=with_workers)


def test_ctrl_c_commits_what_passed_in_the_workers(tmp_path: Path) -> None:
    folder = suite(tmp_path)
    run = started(folder, "-n2")
    wait_for_calls(folder, run, 12)
    os.kill(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 2, said
    assert_nothing_was_lost(folder, in_flight=6)


def test_a_call_is_pruned_when_no_test_asks_it_any_more(tmp_path: Path) -> None:
    folder = suite(tmp_path)
    gone = "def test_gone(golden):\n    assert count.run(text='gone') == golden\n"
    (folder / "test_gone.py").write_text(f"from test_calls import count\n{gone}")
    assert record(folder).returncode == 0
    (folder / "test_gone.py").unlink()
    assert record(folder).returncode == 0
    assert '"text: gone"' in golden_text(folder)
    run = record(folder, "-n2", "--stratum-prune")
    assert run.returncode == 0, run.stdout
    assert '"text: gone"' not in golden_text(folder)
    assert not list((folder / "golden" / "flows").rglob("test_gone*"))
    assert replay(folder).returncode == 0


def golden_text(folder: Path) -> str:
    return (folder / "golden/recordings/test_calls.py/count.json").read_text(encoding="utf-8")


def test_a_partial_run_does_not_prune(tmp_path: Path) -> None:
    folder = suite(tmp_path)
    assert record(folder).returncode == 0
    before = files_below(folder / "golden")
    run = record(folder, "--stratum-prune", "-k", "calls[3]")
    assert "nothing was pruned: not every test was selected" in run.stdout
    assert files_below(folder / "golden") == before


def test_pruning_goes_with_recording(tmp_path: Path) -> None:
    run = run_pytest(suite(tmp_path), "--stratum-replay", "--stratum-prune")
    assert run.returncode == 4
    assert "--stratum-prune goes with --stratum-record" in run.stdout
