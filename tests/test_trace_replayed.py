"""The trace tree of a replay is that of its recording."""

import json
from pathlib import Path

from tests.support import LIVE, project, run_pytest

CONFTEST = f"""\
{LIVE}

def answer(request):
    return {{"value": 0.4 if request.attempt == 0 else 0.9}}
"""

TESTS = """\
import json
import os
from pathlib import Path
import pytest
from stratum import PostconditionFailed, compute, flow, infer, parallel

@infer(intent="Rate", ensure=lambda r: r > 0.7)
def rate(text: str) -> float: ...

@infer(intent="Rate strictly", ensure=lambda r: r > 0.95, retries=1)
def rate_strictly(text: str) -> float: ...

@compute
async def double(n: float) -> float:
    return 2 * n

@flow
async def inner(text: str) -> float:
    return await double(n=await rate(text=text))

@flow
async def outer() -> tuple[float, ...]:
    return await parallel(inner(text="a"), inner(text="a"), rate(text="b"))

def test_tree(traces):
    outer.run()
    with pytest.raises(PostconditionFailed):
        rate_strictly.run(text="c")
    Path(os.environ["TREE"]).write_text(json.dumps(traces.tree()))
"""


def tree(folder: Path, mode: str) -> list[dict[str, object]]:
    path = folder / f"{mode}.json"
    run = run_pytest(folder, "-q", f"--stratum-{mode}", env={"TREE": str(path)})
    assert run.returncode == 0, run.stdout
    found: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_the_tree_of_a_replay_equals_that_of_its_recording(tmp_path: Path) -> None:
    folder = project(tmp_path, {"conftest.py": CONFTEST, "test_tree.py": TESTS})
    recorded = tree(folder, "record")
    assert [step["function"] for step in recorded] == ["outer", "rate_strictly"]
    assert tree(folder, "replay") == recorded
