"""What type checkers make of what users write, and of what Stratum shows them.

The files in `typing/` are never run: each `assert_type` and each ignored error in them is a test.
Both checkers report an ignore that ignores nothing.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyright", reason="python -m pip install -e '.[dev]'")

HOME = Path(__file__).parent.parent
WRITTEN = HOME / "tests" / "typing"


def check(tool, *args, cwd):
    environ = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(HOME),
        "MYPYPATH": str(HOME),
        "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",  # else it asks the network for a newer version
    }
    return subprocess.run(
        [sys.executable, "-m", tool, *args],
        cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_mypy_knows_the_types_of_what_users_write():
    done = check("mypy", f"--cache-dir={HOME / '.mypy_cache' / 'typing'}", ".", cwd=WRITTEN)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright_knows_the_types_of_what_users_write():
    done = check("pyright", "--pythonpath", sys.executable, "--warnings", cwd=WRITTEN)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistake_in_the_typing_files_is_one_to_both_checkers():
    lines = [line for each in WRITTEN.glob("*.py") for line in each.read_text().splitlines()]
    mistakes = [line for line in lines if re.search(r"# (type|pyright): ignore", line)]
    alone = [line for line in mistakes if "# type: ignore[" not in line]
    assert all("# pyright: ignore[" in line for line in mistakes)
    assert [line.strip().partition("  #")[0] for line in alone] == ["if call:"]
    assert len(mistakes) > 50


@pytest.mark.parametrize("package", ["stratum", "pytest_stratum"])
def test_everything_public_has_a_known_type(package, tmp_path):
    done = check(
        "pyright", "--verifytypes", package, "--ignoreexternal", "--outputjson", cwd=tmp_path
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    assert found["packageRootDirectory"] == str(HOME / package)
    assert [symbol["name"] for symbol in found["symbols"] if not symbol["isTypeKnown"]] == []
    assert found["completenessScore"] == 1
