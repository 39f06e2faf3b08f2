"""Measure what importing Stratum, and having its pytest plugin, costs.

    python benchmarks/imports.py

Every figure is of a process of its own, the interpreter's start included.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from measuring import Spent, child, in_rounds, median, table

BASELINE = "from pydantic import BaseModel, TypeAdapter; import asyncio, inspect"
CONTRACT = f"""{BASELINE}
class Tone(BaseModel):
    label: str
    confidence: float
"""
FUNCTION = f"""{CONTRACT}
import stratum
@stratum.infer(intent="Classify", ensure=lambda r: r.confidence > 0.1)
def classify(text: str) -> Tone: ...
"""
CALL = f"""{FUNCTION}
client = stratum.ScriptedClient([{{"label": "warm", "confidence": 0.9}}])
with stratum.using(client=client, model="test/model"):
    classify.run(text="hello")
"""
TESTS = "def test_nothing(): pass\n"
USING = f"{BASELINE}\nimport stratum\n{TESTS}"


def pytest(folder: Path, *arguments: str) -> Spent:
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return child(command, cwd=str(folder), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


def difference(label: str, more: Sequence[Spent], less: Sequence[Spent], target: str = "") -> None:
    """Print the median of the differences within a round, which a slow minute changes least."""
    wall = statistics.median(m.wall - n.wall for m, n in zip(more, less, strict=True)) * 1e3
    cpu = statistics.median(m.cpu - n.cpu for m, n in zip(more, less, strict=True)) * 1e3
    aim = f"   target {target}" if target else ""
    print(f"difference {label:55} {wall:+10.2f} {cpu:+10.2f}{aim}")


def imports(folder: Path) -> None:
    """Compare programs that import Stratum only, and that use it, with those without it."""
    for name, text in {"contract": CONTRACT, "function": FUNCTION, "call": CALL}.items():
        (folder / f"{name}.py").write_text(text)
    works = {
        "python -c pass": lambda: child(["-c", "pass"]),
        "pydantic, asyncio, inspect": lambda: child(["-c", BASELINE]),
        "import stratum": lambda: child(["-c", f"{BASELINE}\nimport stratum"]),
        "a pydantic class": lambda: child([str(folder / "contract.py")]),
        "a class, a decorated function": lambda: child([str(folder / "function.py")]),
        "a class, a function, a scripted call": lambda: child([str(folder / "call.py")]),
    }
    spent = in_rounds(works, rounds=25)
    table({name: median(each) for name, each in spent.items()}, unit="ms")
    base = spent["pydantic, asyncio, inspect"]
    difference("import stratum", spent["import stratum"], base, "+25 ms")
    base = spent["a pydantic class"]
    difference("import, one function", spent["a class, a decorated function"], base)
    difference(
        "import, one function, one call", spent["a class, a function, a scripted call"], base
    )


def plugins(folder: Path) -> None:
    """Compare a run of one test that needs nothing, and of one that imports Stratum."""
    (folder / "test_it.py").write_text(TESTS)
    (folder / "test_using.py").write_text(USING)
    ours = ("-p", "pytest_stratum.plugin")
    works = {
        "pytest, no plugin": lambda: pytest(folder, "test_it.py"),
        "pytest -p pytest_stratum.plugin": lambda: pytest(folder, *ours, "test_it.py"),
        "tests that import stratum, no plugin": lambda: pytest(folder, "test_using.py"),
        "tests that import stratum, --stratum-replay": lambda: pytest(
            folder, *ours, "--stratum-replay", "test_using.py"
        ),
    }
    other = "pytest -p pytest_recording.plugin"
    try:
        import pytest_recording  # noqa: F401
    except ImportError:
        print("pytest-recording is left out: it is not installed")
    else:
        works[other] = lambda: pytest(folder, "-p", "pytest_recording.plugin", "test_it.py")
    spent = in_rounds(works, rounds=11)
    table({name: median(each) for name, each in spent.items()}, unit="ms")
    none = spent["pytest, no plugin"]
    difference("our plugin", spent["pytest -p pytest_stratum.plugin"], none, "+30 ms")
    using = spent["tests that import stratum, no plugin"]
    replaying = spent["tests that import stratum, --stratum-replay"]
    difference("our plugin, replaying", replaying, using)
    if other in spent:
        difference("pytest-recording", spent[other], none)


def main() -> None:
    with TemporaryDirectory() as folder:
        imports(Path(folder))
        plugins(Path(folder))


if __name__ == "__main__":
    main()
