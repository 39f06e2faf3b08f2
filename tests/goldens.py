"""Golden files for tests, written as Stratum writes them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from stratum.hashing import digest, short
from stratum.recording.golden import ANY, FunctionFile, Recordings, Sample, text_of
from tests.support import clean_environment

HOME = "app.py/choose.json"
SCHEMA = {"type": "string"}
WORDS = {
    "intent": "Choose",
    "context": "Carefully",
    "conditions": [],
    "model": "any/model",
    "params": {},
    "wire": "auto",
}


def call(name: str, reply: Any = "a", *places: str, **more: Any) -> Sample:
    """Return a recorded call whose key and inputs follow from a name; None leaves a field out.

    Without places, or with `*` among them, it answers wherever no call of its key is named.
    """
    entry = {
        "key": digest(name),
        "inputs": digest(name.partition("/")[0])[:16],
        "contract": short(digest(SCHEMA)),
        "instructions": short(digest(WORDS)),
        "reply": reply,
        "tokens": [10, 5],
        "cost": 0.001,
        "answered_by": "stand-in",
        "quote": [12, 1.0, 2.0],
        "recorded_on": "2026-01-02",
        "prompt": ["Choose", "", "Carefully", "", f"text: {name}"],
        **more,
    }
    entry = {field: value for field, value in entry.items() if value is not None}
    return Sample(entry, HOME, frozenset(places) - {ANY}, open=ANY in places or not places)


def golden(*calls: Sample, function: str = "choose", source: str = "app.py") -> FunctionFile:
    contracts, words = {short(digest(SCHEMA)): SCHEMA}, {short(digest(WORDS)): WORDS}
    return FunctionFile(function, source, contracts, words, list(calls))


def text(*calls: Sample) -> str:
    """Return what the golden file of some calls holds."""
    return text_of(golden(*calls))


def recorded(root: Path, *calls: Sample, home: str = HOME, **more: str) -> Path:
    """Write the calls' golden file in a project; returns the file."""
    folder = root / "golden" / "recordings"
    Recordings(folder, root).write(home, golden(*calls, **more))
    return folder / home


def stratum(
    folder: Path, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command in a folder, as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "stratum.cli", *arguments],
        cwd=folder,
        env=clean_environment(environment),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
