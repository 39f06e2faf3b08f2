"""Projects for tests to run pytest in, each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

SETTINGS = '[tool.stratum]\nmodel = "test/model"\n'

# The head of a conftest.py: a live client that answers through the function `answer` below it,
# costs a tenth of a cent, and notes in asked.txt what it was asked.
LIVE = """\
from pathlib import Path
import stratum


class Live:
    async def complete(self, request):
        with Path(__file__).with_name("asked.txt").open("a", encoding="utf-8") as file:
            file.write(ascii(str(request.shown))[1:-1] + chr(10))
        return stratum.Reply(answer(request), stratum.Usage(10, 5), "stand-in", cost=0.001)

    async def quote(self, request):
        return stratum.Quote(10, 1.0, 1.0)


stratum.configure(client=Live())
"""

ECHO = f"""\
{LIVE}

def answer(request):
    return {{"value": request.shown.text.partition(": ")[2].upper()}}
"""

# For a conftest.py: a fixture with which a test notes values, to compare them between runs.
NOTE = """

import pytest


@pytest.fixture
def note(request):
    def write(*values):
        with (request.config.rootpath / "noted.txt").open("a", encoding="utf-8") as file:
            file.write(f"{request.node.name}: {values!r}\\n")

    return write
"""


def project(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the files, their common indent removed, and return the folder."""
    for name, text in {"pyproject.toml": SETTINGS, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
    return folder


def run_pytest(
    folder: Path, *args: str, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run pytest in a folder, in the order written unless told otherwise; stdout has it all."""
    order = () if "randomly" in args else ("-p", "no:randomly")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *order, *args],
        cwd=folder,
        env=clean_environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=120,
    )


def run_bare(
    folder: Path, *args: str, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run pytest with Stratum and syrupy only, and what `-p` names: it starts twice as fast."""
    bare = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **(env or {})}
    return run_pytest(folder, "-p", "pytest_stratum.plugin", "-p", "syrupy", *args, env=bare)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment without keys or settings of whoever runs the tests."""
    kept = ("PATH", "HOME", "PYTHONPATH", "TMPDIR", "LANG", "SYSTEMROOT")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    return {
        **own,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "COLUMNS": "100",
        **(more or {}),
    }


def asked(folder: Path) -> list[str]:
    """Return the prompts that the live client of `LIVE` was sent so far."""
    path = folder / "asked.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def noted(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> list[str]:
    """Run pytest in a folder, where all passes, and return what the tests noted, sorted."""
    (folder / "noted.txt").unlink(missing_ok=True)
    done = run_pytest(folder, "-q", *args, env=env)
    assert done.returncode == 0, done.stdout
    return sorted((folder / "noted.txt").read_text(encoding="utf-8").splitlines())
