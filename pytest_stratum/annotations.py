"""Show drift at the lines of a pull request, by commands that GitHub Actions reads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from pytest_stratum.report import SHOWN_LINES, also_in, many, shown
from pytest_stratum.run_report import DriftBlock, RunReport, run_report
from pytest_stratum.session import StratumSession
from stratum.text import escape, truncate

WIDEST_TITLE = 200

_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = {**_IN_MESSAGE, ":": "%3A", ",": "%2C"}


def show(session: StratumSession, terminal: Any, exit_code: int) -> None:
    """Print what the run says, then its drift as commands."""
    run = run_report(session, exit_code)
    if not run.says_something:
        return
    with _no_commands(terminal):
        session.report.print(terminal, session.mode)
    for command in annotations(run, session.settings.root):
        terminal.write_line(command)


@contextmanager
def _no_commands(terminal: Any) -> Iterator[None]:
    """Let nothing that is printed inside be a command, though recorded text may look like one.

    The runner takes `::error::` for one after any white space, and `##[error]` anywhere in a
    line.
    """
    token = token_hex(16)
    terminal.write_line(f"::stop-commands::{token}")
    try:
        yield
    finally:
        terminal.write_line(f"::{token}::")


def annotations(run: RunReport, root: Path) -> list[str]:
    """Return one command for each block of drift; its files are below `root`."""
    below = shown(root, _repository(root))
    return [annotation(block, below) for block in run.drift]


def annotation(block: DriftBlock, below: str = ".") -> str:
    """Return the command that shows a block of drift where its function is defined.

    `below` is the folder of the block's file in the repository.
    """
    title = truncate(f"{block.kind} drift in {block.function}", WIDEST_TITLE)
    about = {"file": _file(block, below), "line": str(block.line), "title": title}
    listed = ",".join(f"{name}={_put(text, _IN_PROPERTY)}" for name, text in about.items() if text)
    lines = [block.title, *block.lines[:SHOWN_LINES]]
    lines += ["…"] if len(block.lines) > SHOWN_LINES else []
    lines += also_in(map(str, block.also))
    lines += [f"breaks {many(len(block.tests), 'test')}", f"accept: {block.accept}"]
    first = f"{block.kind} drift in {block.function}: "
    message = "\n".join(escape(line) for line in [first + lines[0], *lines[1:]])
    return f"::error {listed}::{_put(message, _IN_MESSAGE)}"


def _repository(root: Path) -> Path:
    """Return the checkout that a folder is in; the folder itself when there is none."""
    told = os.environ.get("GITHUB_WORKSPACE")
    if told and root.is_relative_to(Path(told).resolve()):
        return Path(told).resolve()
    return next((each for each in (root, *root.parents) if (each / ".git").exists()), root)


def _file(block: DriftBlock, below: str) -> str:
    if block.file.startswith("outside/"):
        return ""
    return block.file if below == "." else f"{below}/{block.file}"


def _put(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
