import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from stratum.errors import RecordingError
from stratum.recording.lease import Lease, is_held

RUN = "0123456789abcdef"
HOLD = """
import sys
from pathlib import Path
from stratum.recording.lease import Lease
with Lease(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
HOLD_AND_FORK = """
import os, sys
from pathlib import Path
from stratum.recording.lease import Lease
Lease(Path(sys.argv[1]), sys.argv[2]).take()
if not os.fork():
    print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(folder: Path, script: str = HOLD) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, str(folder), RUN]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_run_is_held_until_it_is_released(tmp_path: Path) -> None:
    with Lease(tmp_path, RUN):
        assert is_held(tmp_path, RUN)
    assert not is_held(tmp_path, RUN)


def test_a_released_lease_leaves_no_file(tmp_path: Path) -> None:
    with Lease(tmp_path / "leases", RUN):
        pass
    assert list((tmp_path / "leases").iterdir()) == []


def test_a_run_nobody_took_is_not_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "absent", RUN)


def test_asking_does_not_take(tmp_path: Path) -> None:
    (tmp_path / f"{RUN}.lease").touch()
    assert [is_held(tmp_path, RUN), is_held(tmp_path, RUN)] == [False, False]


def test_a_lease_can_be_taken_again(tmp_path: Path) -> None:
    lease = Lease(tmp_path, RUN)
    lease.take()
    lease.release()
    lease.take()
    assert is_held(tmp_path, RUN)
    lease.release()


def test_releasing_what_is_not_held_does_nothing(tmp_path: Path) -> None:
    with Lease(tmp_path, RUN):
        Lease(tmp_path, RUN).release()
        assert is_held(tmp_path, RUN)


def test_a_run_has_one_holder(tmp_path: Path) -> None:
    with (
        Lease(tmp_path, RUN),
        pytest.raises(RecordingError, match=r"is held already .* of its own"),
    ):
        Lease(tmp_path, RUN).take()


def test_a_lease_that_passes_on_is_never_lost(tmp_path: Path) -> None:
    def take_once(_: int) -> bool:
        with Lease(tmp_path, RUN):
            return is_held(tmp_path, RUN)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(take_once, range(400)))


def test_another_process_sees_the_lease(tmp_path: Path) -> None:
    with holder(tmp_path):
        assert is_held(tmp_path, RUN)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / f"{RUN}.lease").exists()
        assert not is_held(tmp_path, RUN)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_forked_child_does_not_hold_its_parents_run(tmp_path: Path) -> None:
    with holder(tmp_path, HOLD_AND_FORK) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_held(tmp_path, RUN)


def test_a_dead_runs_lease_can_be_taken(tmp_path: Path) -> None:
    (tmp_path / f"{RUN}.lease").touch()
    with Lease(tmp_path, RUN):
        assert is_held(tmp_path, RUN)


@pytest.mark.parametrize(
    "run", [str(uuid4()), uuid4().hex, "0f" * 32], ids=["uuid", "hex", "digest"]
)
def test_hex_and_uuids_are_run_ids(tmp_path: Path, run: str) -> None:
    assert Lease(tmp_path, run).path == tmp_path / f"{run}.lease"


@pytest.mark.parametrize(
    "run",
    ["", "../0123456789ab", "0123456789AB", "01234567\n", "short", "0" * 65, "01234567-"],
    ids=["empty", "escaping", "upper", "newline", "words", "long", "dash"],
)
def test_anything_else_is_no_run_id(tmp_path: Path, run: str) -> None:
    with pytest.raises(RecordingError, match="is no run id; use 8 to 64"):
        is_held(tmp_path, run)


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / f"{RUN}.lease").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordingError, match="cannot be made"):
        Lease(tmp_path, RUN).take()
    assert not (tmp_path / "elsewhere").exists()
