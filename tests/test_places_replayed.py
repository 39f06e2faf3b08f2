"""Every call is replayed with its own answer, whatever came first this time."""

import json
import re
from pathlib import Path
from typing import Any

from tests.support import LIVE, NOTE, asked, files_below, noted, project, run_pytest

# Answers every request otherwise, so that a swapped answer shows; the time it takes varies.
COUNTING = f"""{LIVE}
import asyncio, itertools, random

numbers = itertools.count()
complete = Live.complete


async def slowly(self, request):
    await asyncio.sleep(random.SystemRandom().random() / 200)
    return await complete(self, request)


Live.complete = slowly


def answer(request):
    return {{"value": f"{{request.shown.text}}, answer {{next(numbers)}}"}}
"""

APP = """
    import asyncio, random
    from stratum import flow, infer

    @infer(intent="Say something")
    def say(text: str) -> str: ...

    async def later(text):
        await asyncio.sleep(random.SystemRandom().random() / 200)
        return await say(text=text)

    @flow
    async def twice(text):
        return await later(text), await say(text=text)
"""

SUITE = """
    import asyncio, threading
    from concurrent.futures import ThreadPoolExecutor

    import pytest
    import pytest_asyncio
    from app import later, say, twice
    from stratum import parallel

    def test_once(note):
        note(say.run(text="a"))

    async def test_identical_calls_at_once(note):
        note(await parallel(*(later("a") for _ in range(5))))

    async def test_two_parallels_in_a_row(note):
        note(await parallel(later("a"), later("b")))
        note(await parallel(later("a"), later("a")))

    def test_a_flow_twice(note):
        note(twice.run(text="a"), twice.run(text="a"))

    async def test_flows_at_once(note):
        note(await parallel(twice("a"), twice("b"), twice("a")))

    @pytest.fixture(scope="module")
    def said_for_all():
        return say.run(text="a"), say.run(text="a")

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def said_by_an_async_fixture():
        return await asyncio.gather(later("a"), later("b"))

    @pytest.mark.parametrize("number", [1, 2])
    def test_with_a_module_fixture(note, said_for_all, said_by_an_async_fixture, number):
        note(said_for_all, said_by_an_async_fixture, say.run(text="a"))

    async def test_gather_with_a_wait_before_the_first_call(note):
        note(await asyncio.gather(later("a"), later("b"), later("c")))

    def test_gather_without_a_call_of_the_test_itself(note):
        async def main():
            return await asyncio.gather(later("a"), later("b"), twice("c"))
        note(asyncio.run(main()))

    async def test_wait_for(note):
        note(await asyncio.wait_for(later("a"), 10), await say(text="a"))

    def test_asyncio_run_twice(note):
        note(asyncio.run(twice("a")), asyncio.run(twice("a")))

    def test_threads(note):
        with ThreadPoolExecutor(3) as pool:
            note(*pool.map(lambda text: say.run(text=text), "abc"))

    async def test_to_thread(note):
        note(await parallel(*(asyncio.to_thread(say.run, text="a") for _ in range(3))))
"""

PYPROJECT = """
    [tool.stratum]
    model = "test/model"

    [tool.pytest.ini_options]
    asyncio_mode = "auto"
    asyncio_default_fixture_loop_scope = "function"
"""


def suite(folder: Path, tests: str) -> Path:
    files = {"conftest.py": COUNTING + NOTE, "app.py": APP, "test_it.py": tests}
    return project(folder, {"pyproject.toml": PYPROJECT, **files})


def run(folder: Path, *args: str) -> list[str]:
    return noted(folder, "-Werror", *args)


def calls(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "golden/recordings/app.py/say.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["calls"]
    return found


def test_no_answer_is_swapped_under_any_timing_and_order(tmp_path: Path) -> None:
    recorded = run(suite(tmp_path, SUITE), "--stratum-record", "-p", "randomly")
    assert len(recorded) == 14
    for _ in range(2):
        assert run(tmp_path, "--stratum-replay", "-p", "randomly") == recorded

    golden, questions = files_below(tmp_path / "golden"), asked(tmp_path)
    assert run(tmp_path, "--stratum-record", "-p", "randomly") == recorded
    assert asked(tmp_path) == questions
    assert files_below(tmp_path / "golden") == golden


def test_a_rerun_meets_the_same_answers(tmp_path: Path) -> None:
    flaky = """
    from app import say
    tries = []

    def test_flaky(note):
        tries.append([say.run(text="a"), say.run(text="a")])
        assert len(tries) == 3
        assert tries[0] == tries[1] == tries[2]
        note(tries)
    """
    recorded = run(suite(tmp_path, flaky), "--stratum-record", "--reruns=2")
    assert len(asked(tmp_path)) == 2
    assert run(tmp_path, "--stratum-replay", "--reruns=2") == recorded


BATCH = """
    from app import say
    from stratum import parallel

    def test_batch(note):
        texts = [*range(1000)]
        note(parallel(*(say(text=f"text {number}") for number in texts)).run())
"""


def test_a_text_in_front_of_a_batch_of_1000_costs_one_call(tmp_path: Path) -> None:
    [before] = run(suite(tmp_path, BATCH), "--stratum-record")
    assert len(asked(tmp_path)) == 1000
    suite(tmp_path, BATCH.replace("[*range", "[-1, *range"))
    [after] = run(tmp_path, "--stratum-record")
    assert asked(tmp_path)[1000:] == [r"Say something\n\ntext: text -1"]
    assert after.endswith(before.removeprefix("test_batch: (("))
    assert not any("places" in call for call in calls(tmp_path))
    assert run(tmp_path, "--stratum-replay") == [after]


def test_two_tasks_that_make_the_same_call_are_warned_of_when_recording(tmp_path: Path) -> None:
    tests = """
    import asyncio
    from app import say

    async def test_gathered(note):
        note(await asyncio.gather(say(text="a"), say(text="a")))
    """
    done = run_pytest(suite(tmp_path, tests), "--stratum-record")
    assert done.returncode == 0, done.stdout
    told = r"app\.py:\d+: AmbiguousPlace: say: two tasks made the same call"
    assert re.search(told, done.stdout), done.stdout  # where the function is defined
    assert "Start them with stratum.parallel(...), and use asyncio.timeout" in done.stdout
    run(tmp_path, "--stratum-replay")


def test_a_call_with_a_cache_has_no_place_and_is_asked_once(tmp_path: Path) -> None:
    tests = """
    import pytest
    from app import say
    from stratum import parallel

    @pytest.mark.parametrize("cache", ["session", "global"])
    @pytest.mark.parametrize("number", [1, 2])
    def test_remembered(note, cache, number):
        remembered = say.with_(cache=cache, params={"seed": len(cache)})
        again = parallel(*(remembered(text="a") for _ in range(3))).run()
        note(remembered.run(text="a"), again)
    """
    recorded = run(suite(tmp_path, tests), "--stratum-record")
    assert len(asked(tmp_path)) == 2
    assert len({each.partition(": ")[2] for each in recorded}) == 2
    assert [call.get("places") for call in calls(tmp_path)] == [None, None]
    assert run(tmp_path, "--stratum-replay") == recorded


def test_recording_a_new_test_leaves_the_answers_of_the_others(tmp_path: Path) -> None:
    tests = """
    from app import say
    from stratum import parallel

    def test_old(note):
        note(say.run(text="a"))
    """
    recorded = run(suite(tmp_path, tests), "--stratum-record")
    new = """
    def test_new(note):
        note(parallel(say(text="a"), say(text="a")).run())
    """
    suite(tmp_path, tests + new)
    recorded += run(tmp_path, "--stratum-record", "-k", "new")
    assert len(asked(tmp_path)) == 2
    assert [call.get("places") for call in calls(tmp_path)] == [["*", "0#0"], ["1#0"]]
    assert run(tmp_path, "--stratum-replay") == sorted(recorded)
    assert run(tmp_path, "--stratum-record") == sorted(recorded)
    assert [call.get("places") for call in calls(tmp_path)] == [["#0", "0#0"], ["1#0"]]
    assert len(asked(tmp_path)) == 2
