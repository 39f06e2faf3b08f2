"""Record and replay under every way of writing a test that users have."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support import LIVE, SETTINGS, asked, files_below, project, run_pytest

# No two answers are the same, so that a swapped one shows in the golden flows.
NUMBERED = """\
import itertools

numbers = itertools.count(1)


def answer(request):
    return {"value": f"{request.shown.text} = {next(numbers)}"}
"""

PYPROJECT = f"""\
{SETTINGS}
[tool.pytest.ini_options]
asyncio_mode = "strict"
asyncio_default_fixture_loop_scope = "function"
"""

FILES = {
    "pyproject.toml": PYPROJECT,
    "conftest.py": LIVE + NUMBERED,
    "app.py": """
    from stratum import flow, infer, parallel

    @infer(intent="Number it")
    def number(text: str) -> str: ...

    @flow
    async def twice(text: str) -> list[str]:
        return list(await parallel(number(text=text), number(text=text)))
""",
    "test_plain.py": """
    from concurrent.futures import ThreadPoolExecutor
    from threading import Thread
    import stratum
    from app import number, twice
    import pytest

    def test_run(traces, golden):
        number.run(text="plain")
        assert traces == golden

    def test_same_call_twice(traces, golden):
        assert number.run(text="plain") != number.run(text="plain")
        assert traces == golden

    @pytest.fixture(scope="module")
    def shared():
        return number.run(text="shared")

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_module_fixture(shared, n, golden):
        assert {"shared": shared, "own": number.run(text=f"own {n}")} == golden

    def test_flow(golden_flow):
        golden_flow.run(twice, text="flow")

    def test_yield_fixture(after, golden):
        assert after == golden

    @pytest.fixture
    def after():
        yield number.run(text="before it")
        number.run(text="after it")

    def test_thread(golden):
        found = []
        thread = Thread(target=lambda: found.append(number.run(text="thread")))
        thread.start(); thread.join()
        assert found == golden

    def test_executor(golden):
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda n: number.run(text=f"pool {n}"), range(8)))
        assert found == golden

    def test_carried(traces, golden):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(stratum.carry(number.run), text="carried").result()
        assert traces == golden
""",
    "test_anyio.py": """
    import asyncio
    import anyio
    import pytest
    from app import number, twice

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.fixture
    async def early():
        return await number(text="early")

    @pytest.fixture
    async def around():
        first = await number(text="around")
        yield first
        await number(text="around, after")

    async def test_await(traces, golden):
        await number(text="anyio")
        assert traces == golden

    async def test_fixtures(early, around, golden):
        assert {"early": early, "around": around, "own": await number(text="own")} == golden

    async def test_gather(traces, golden):
        await asyncio.gather(*(number(text=f"gather {n}") for n in range(4)))
        assert sorted(r.output for r in traces) == golden

    async def test_task_group(golden):
        found = {}
        async def one(n):
            found[str(n)] = await number(text=f"group {n}")
        async with anyio.create_task_group() as group:
            for n in range(4):
                group.start_soon(one, n)
        assert dict(sorted(found.items())) == golden

    async def test_to_thread(golden):
        assert [await asyncio.to_thread(number.run, text="to thread"),
                await anyio.to_thread.run_sync(lambda: number.run(text="to thread 2"))] == golden

    async def test_wait_for(golden):
        assert await asyncio.wait_for(number(text="wait for"), 5) == golden

    async def test_flow(golden_flow):
        await golden_flow(twice, text="anyio flow")
""",
    "test_anyio_module.py": """
    import pytest
    from app import number, twice

    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="module")
    def anyio_backend():
        return "asyncio"

    @pytest.fixture(scope="module")
    async def shared():
        yield await number(text="module-wide")
        await number(text="module-wide, after")

    @pytest.fixture
    async def own(shared):
        return await number(text="own")

    async def test_first(shared, own, traces, golden):
        assert [shared, own, await number(text="same")] == golden

    async def test_second(shared, own, traces, golden):
        assert [shared, own, await number(text="same")] == golden
        assert len(traces) == 1

    async def test_flow(shared, golden_flow):
        await golden_flow(twice, text="module flow")
""",
    "test_anyio_session.py": """
    import pytest
    from app import number

    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="session")
    def anyio_backend():
        return "asyncio"

    @pytest.fixture(scope="session")
    async def shared():
        return await number(text="session-wide")

    async def test_first(shared, golden):
        assert [shared, await number(text="same")] == golden

    async def test_second(shared, golden):
        assert [shared, await number(text="same")] == golden
""",
    "test_asyncio.py": """
    import asyncio
    import pytest, pytest_asyncio
    from app import number, twice

    pytestmark = pytest.mark.asyncio

    @pytest_asyncio.fixture
    async def early():
        first = await number(text="early")
        yield first
        await number(text="early, after")

    async def test_await(early, golden):
        assert [early, await number(text="asyncio")] == golden

    async def test_again(early, golden):
        assert [early, await number(text="asyncio")] == golden

    async def test_gather(golden):
        assert await asyncio.gather(*(number(text=f"gather {n}") for n in range(4))) == golden

    async def test_flow(golden_flow):
        await golden_flow(twice, text="asyncio flow")
""",
    "test_asyncio_wide.py": """
    import pytest, pytest_asyncio
    from app import number

    pytestmark = pytest.mark.asyncio(loop_scope="module")

    @pytest_asyncio.fixture(loop_scope="module", scope="module")
    async def shared():
        return await number(text="module loop")

    @pytest_asyncio.fixture(loop_scope="session", scope="session")
    async def wide():
        return await number(text="session loop")

    async def test_first(shared, wide, golden):
        assert [shared, wide, await number(text="same")] == golden

    async def test_second(shared, wide, golden):
        assert [shared, wide, await number(text="same")] == golden

    @pytest.mark.asyncio(loop_scope="session")
    async def test_session_loop(wide, golden):
        assert [wide, await number(text="same")] == golden
""",
    "test_unittest.py": """
    import unittest
    from app import number

    class Plain(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            cls.shared = number.run(text="class")

        def setUp(self):
            self.early = number.run(text="set up")

        def tearDown(self):
            number.run(text="tear down")

        def test_one(self):
            self.assertIn("one", number.run(text="one"))

        def test_two(self):
            self.assertIn("two", number.run(text="two"))

    class Async(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            self.early = await number(text="async set up")

        async def asyncTearDown(self):
            await number(text="async tear down")

        async def test_one(self):
            self.assertIn("async one", await number(text="async one"))

        async def test_same(self):
            a, b = await number(text="same"), await number(text="same")
            self.assertNotEqual(a, b)
""",
}

MODULES = {
    "plain tests, threads and executors": ("test_plain.py", 10),
    "anyio": ("test_anyio.py", 7),
    "anyio with a module-wide backend": ("test_anyio_module.py", 3),
    "anyio with a session-wide backend": ("test_anyio_session.py", 2),
    "pytest-asyncio": ("test_asyncio.py", 4),
    "pytest-asyncio with wide loops": ("test_asyncio_wide.py", 3),
    "unittest": ("test_unittest.py", 4),
}


@dataclass
class Recorded:
    """A project that was recorded, and how that went."""

    folder: Path
    run: "CompletedProcess[str]"
    golden: dict[str, bytes]
    asked: list[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = project(tmp_path_factory.mktemp("frameworks"), FILES)
    run = run_pytest(folder, "--stratum-record", "-rA")
    return Recorded(folder, run, files_below(folder / "golden"), asked(folder))


@pytest.fixture(scope="module")
def replayed(recorded: Recorded) -> "CompletedProcess[str]":
    return run_pytest(recorded.folder, "--stratum-replay", "-rA")


def passed_in(output: str, module: str) -> int:
    return len(re.findall(rf"^PASSED {re.escape(module)}::", output, re.MULTILINE))


@pytest.mark.parametrize(("module", "tests"), MODULES.values(), ids=MODULES)
def test_recorded_tests_get_the_same_answers_in_replay(
    recorded: Recorded, replayed: "CompletedProcess[str]", module: str, tests: int
) -> None:
    assert passed_in(recorded.run.stdout, module) == tests, recorded.run.stdout
    assert passed_in(replayed.stdout, module) == tests, replayed.stdout


def test_replay_asks_nothing_and_writes_nothing(
    recorded: Recorded, replayed: "CompletedProcess[str]"
) -> None:
    assert replayed.returncode == 0, replayed.stdout
    assert asked(recorded.folder) == recorded.asked
    assert files_below(recorded.folder / "golden") == recorded.golden


def test_recording_again_in_random_order_asks_nothing_and_changes_nothing(
    recorded: Recorded,
) -> None:
    run = run_pytest(recorded.folder, "--stratum-record", "-p", "randomly", "--randomly-seed=7")
    assert run.returncode == 0, run.stdout
    assert "Using --randomly-seed=7" in run.stdout
    assert asked(recorded.folder) == recorded.asked
    assert files_below(recorded.folder / "golden") == recorded.golden


def test_replay_in_random_order_gives_the_same_answers(recorded: Recorded) -> None:
    run = run_pytest(recorded.folder, "--stratum-replay", "-p", "randomly", "--randomly-seed=8")
    assert run.returncode == 0, run.stdout


def test_workers_replay_and_the_summary_counts_them_together(
    recorded: Recorded, replayed: "CompletedProcess[str]"
) -> None:
    run = run_pytest(recorded.folder, "--stratum-replay", "-n2", "--dist=loadfile")
    assert run.returncode == 0, run.stdout
    assert summary(run.stdout) == summary(replayed.stdout)


def summary(output: str) -> str:
    found = re.search(r"^\d+ calls? replayed.*$", output, re.MULTILINE)
    assert found is not None, output
    return found[0]


def test_drift_that_workers_meet_is_one_block(recorded: Recorded, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(recorded.folder, tmp_path / "drifted"))
    app = folder / "app.py"
    app.write_text(app.read_text().replace("Number it", "Count it"))
    run = run_pytest(folder, "--stratum-replay", "-n2")
    assert run.returncode == 1
    assert run.stdout.count("prompt drift · number · app.py:") == 1
    assert "stratum drift: 1 cause, 33 tests" in run.stdout
    assert "- Number it" in run.stdout
    assert "+ Count it" in run.stdout
