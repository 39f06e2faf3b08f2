"""Budgets under record and replay: the ledger decides alike, and nothing outlives its limit."""

import json
from pathlib import Path
from typing import Any

from tests.support import asked, files_below, project, run_pytest

# A live client whose calls cost a cent at worst, for 100 output tokens; words in the input say
# what each costs really, how long it takes and how it ends.
LIVE = """
    import asyncio, random
    from pathlib import Path
    import stratum

    class Live:
        async def complete(self, request):
            text = request.shown.text
            with Path(__file__).with_name("asked.txt").open("a") as file:
                file.write(text.rpartition("text: ")[2].strip() + chr(10))
            if "shuffled" in text:
                await asyncio.sleep(random.uniform(0, 0.02))
            if "broken" in text:
                raise stratum.ProviderError("down")
            if "slow" in text:
                await asyncio.sleep(5)
            if "later" in text:
                await asyncio.sleep(0.05)
            if "cap" in text and request.cap is not None:
                used = stratum.Usage(0, request.cap)
                return stratum.Reply("o", used, "m", outcome="cut", cost=0.0)
            answer = 7 if "wrong" in text else "ok"
            tokens = min(100 if "full" in text else 40, request.cap or 100)
            return stratum.Reply(answer, stratum.Usage(0, tokens), "m", cost=tokens * 0.0001)

        async def quote(self, request):
            return stratum.Quote(0, 0.0, 100.0)

    stratum.configure(client=Live())
"""

PYPROJECT = """
    [tool.stratum]
    model = "test/model"

    [tool.pytest.ini_options]
    asyncio_mode = "auto"
    asyncio_default_fixture_loop_scope = "function"
"""

APP = """
    import asyncio
    import stratum
    from stratum import Budget, flow, infer, parallel

    @infer(intent="Say it", max_tokens=100, retries=0)
    def say(text: str) -> str: ...

    @flow
    async def fan(*texts):
        return await parallel(*(say(text=text) for text in texts))
"""

HEAD = """
    import asyncio, pytest
    from app import *
"""


def suite(folder: Path, tests: str) -> Path:
    files = {"pyproject.toml": PYPROJECT, "conftest.py": LIVE, "app.py": APP}
    files["test_it.py"] = HEAD + tests
    return project(folder, files)


def change(folder: Path, old: str, new: str) -> None:
    path = folder / "test_it.py"
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")


def record(folder: Path, *args: str, failed: int = 0) -> str:
    return _run(folder, "--stratum-record", *args, failed=failed)


def replay(folder: Path, *args: str, failed: int = 0) -> str:
    """Replay without a live client: whatever is asked of it fails."""
    conftest = folder / "conftest.py"
    live = conftest.read_text(encoding="utf-8")
    conftest.unlink()
    try:
        return _run(folder, "--stratum-replay", *args, failed=failed)
    finally:
        conftest.write_text(live, encoding="utf-8")


def _run(folder: Path, *args: str, failed: int) -> str:
    plain = [f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "xdist", "anyio")]
    done = run_pytest(folder, "-q", *plain, *args)
    assert done.returncode == (1 if failed else 0), done.stdout
    if failed:
        assert f"{failed} failed" in done.stdout, done.stdout
    return done.stdout


def record_and_replay(folder: Path) -> None:
    """Record, replay, and record again: the last asks nothing and changes no byte."""
    record(folder)
    replay(folder)
    sent, golden = asked(folder), files_below(folder / "golden")
    record(folder)
    assert asked(folder) == sent
    assert files_below(folder / "golden") == golden


def calls(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "golden/recordings/app.py/say.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["calls"]
    return found


def outcomes(folder: Path) -> list[str]:
    return sorted(call.get("outcome", "answered") for call in calls(folder))


def test_ten_calls_within_the_budget_succeed_in_replay_as_they_did_live(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    async def test_ten():
        texts = [f"shuffled {n}" for n in range(10)]
        assert await fan.with_(budget=Budget(usd=0.05))(*texts) == ("ok",) * 10

    async def test_ten_alike():
        assert await fan.with_(budget=Budget(usd=0.05))(*["shuffled"] * 10) == ("ok",) * 10
    """,
    )
    record_and_replay(folder)
    assert len(asked(folder)) == 20


def test_a_budget_turns_the_same_calls_away_in_replay(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    async def test_fifty():
        with pytest.raises(stratum.BudgetExceeded):
            await fan.with_(budget=Budget(usd=0.01))(*[f"full {n}" for n in range(50)])

    async def test_fifty_alike():
        with pytest.raises(stratum.BudgetExceeded):
            await fan.with_(budget=Budget(usd=0.01))(*["full"] * 50)

    async def test_lowered_before_turned_away():
        with pytest.raises(stratum.BudgetExceeded):
            await fan.with_(budget=Budget(tokens=110))(*[f"part {n}" for n in range(50)])

    def test_none_at_all_under_other_settings():
        with pytest.raises(stratum.BudgetExceeded):
            say.with_(budget=Budget(usd=0), params={"max_tokens": 99}).run(text="full 0")
    """,
    )
    record_and_replay(folder)
    assert asked(folder) == ["full 0", "full", "part 0", "part 1", "part 2"]
    assert outcomes(folder) == ["answered"] * 5 + ["unsent"] * (49 + 47 + 1)


def test_a_recorded_refusal_does_not_outlive_a_raised_budget(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    def test_refused():
        with pytest.raises(stratum.BudgetExceeded):
            say.with_(budget=Budget(usd=0.0001)).run(text="dear")

    def test_other():
        say.with_(params={"temperature": 1}).run(text="other")
    """,
    )
    record_and_replay(folder)
    assert asked(folder) == ["other"]
    assert outcomes(folder) == ["answered", "unsent"]
    change(folder, "with pytest.raises(stratum.BudgetExceeded):", "if True:")
    change(folder, "0.0001", "0.01")
    assert "RecordingMissing" in replay(folder, failed=1)
    record(folder)
    replay(folder)
    assert asked(folder) == ["other", "dear"]
    assert outcomes(folder) == ["answered", "answered"]


def test_a_recorded_answer_does_not_escape_a_lowered_budget(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    def test_answered():
        say.with_(budget=Budget(usd=0.01)).run(text="dear")
    """,
    )
    record(folder)
    change(folder, "0.01", "0.0001")
    assert "BudgetExceeded: say would cost" in replay(folder, failed=1)


def test_an_answer_cut_off_by_a_budget_does_not_outlive_it(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    def test_cut():
        with pytest.raises(stratum.CutOff):
            say.with_(budget=Budget(usd=0.005)).run(text="cap")
    """,
    )
    record_and_replay(folder)
    assert calls(folder)[0]["cap"] == 50
    change(folder, "with pytest.raises(stratum.CutOff):", "if True:")
    change(folder, "0.005", "0.01")
    said = replay(folder, failed=1)
    assert "recorded as cut off at the 50 output tokens that its budget left" in said
    record(folder)
    replay(folder)
    assert outcomes(folder) == ["answered"]


def test_a_timeout_is_replayed_without_waiting_and_not_beyond_its_limit(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    MS = 60

    def test_call():
        with pytest.raises(stratum.BudgetExceeded, match=f"its {MS} ms") as raised:
            say.with_(budget=Budget(ms=MS)).run(text="slow call")
        assert raised.value.limit == "ms"

    async def test_flow():
        with pytest.raises(stratum.BudgetExceeded, match=f"fan took longer than its {MS} ms"):
            await fan.with_(budget=Budget(ms=MS, usd=1))("quick", "slow 1", "slow 2")

    async def test_queue():
        with pytest.raises(stratum.BudgetExceeded, match=f"fan took longer than its {MS} ms"):
            await fan.with_(budget=Budget(ms=MS, usd=0.01))("slow 3", "waits", "waits too")

    async def test_thread():
        @flow(budget=Budget(ms=MS))
        async def outer():
            await asyncio.to_thread(stratum.carry(say.run), text="slow thread")
        with pytest.raises(stratum.BudgetExceeded, match=f"outer took longer"):
            await outer()
    """,
    )
    record_and_replay(folder)
    change(folder, "MS = 60", "MS = 40")
    replay(folder)
    change(folder, "MS = 40", "MS = 61")
    said = replay(folder, failed=4)
    assert "recorded as out of time under ms=60, which it no longer has to be" in said


def test_a_raised_time_limit_asks_anew(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    MS = 20

    def test_call():
        if MS == 20:
            with pytest.raises(stratum.BudgetExceeded):
                say.with_(budget=Budget(ms=MS, usd=1)).run(text="later")
        else:
            assert say.with_(budget=Budget(ms=MS, usd=1)).run(text="later") == "ok"
    """,
    )
    record(folder)
    assert outcomes(folder) == ["timeout"]
    change(folder, "MS = 20", "MS = 5000")
    record_and_replay(folder)
    assert outcomes(folder) == ["answered"]
    assert asked(folder) == ["later", "later"]


def test_one_call_under_two_time_limits_has_an_end_for_each(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    def test_hasty():
        with pytest.raises(stratum.BudgetExceeded):
            say.with_(budget=Budget(ms=20)).run(text="later")
    """,
    )
    record(folder)
    with (folder / "test_it.py").open("a", encoding="utf-8") as file:
        file.write("\n\ndef test_patient():\n    say.run(text='later')\n")
    record(folder, "-k", "patient")
    record_and_replay(folder)
    assert outcomes(folder) == ["answered", "timeout"]


def test_calls_that_were_cancelled_before_they_were_sent_are_so_again(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    async def test_queue():
        @flow(budget=Budget(usd=0.012))
        async def outer():
            with pytest.raises(stratum.ContractViolated):
                await fan("later wrong", "waits 1", "waits 2")
            return await say(text="after")
        assert await outer() == "ok"
    """,
    )
    record_and_replay(folder)
    assert asked(folder) == ["later wrong", "after"]


def test_a_provider_that_fails_is_no_refusal_of_the_budget(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    def test_priced():
        say.with_(budget=Budget(usd=1)).run(text="broken")
    """,
    )
    said = record(folder, failed=1)
    assert "ProviderError: down" in said
    assert "BudgetExceeded" not in said
    assert not (folder / "golden").exists()


def test_an_unpriced_model_is_the_same_error_in_replay(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    def test_unpriced():
        with pytest.raises(stratum.UnpricedModel, match="test/model"):
            say.with_(budget=Budget(usd=1)).run(text="x")

    def test_tolerant():
        with pytest.warns(stratum.UnpricedWarning):
            say.with_(budget=Budget(usd=1, on_unpriced="warn")).run(text="y")
    """,
    )
    conftest = folder / "conftest.py"
    priced = conftest.read_text(encoding="utf-8")
    conftest.write_text(priced.replace("Quote(0, 0.0, 100.0)", "Quote(5)"), encoding="utf-8")
    record_and_replay(folder)
    assert asked(folder) == ["y"]


def test_a_changed_price_counts_once_everything_is_asked_anew(tmp_path: Path) -> None:
    folder = suite(
        tmp_path,
        """
    def test_priced():
        say.with_(budget=Budget(usd=0.01)).run(text="x")
    """,
    )
    record(folder)
    conftest = folder / "conftest.py"
    priced = conftest.read_text(encoding="utf-8")
    conftest.write_text(priced.replace("100.0", "100000.0"), encoding="utf-8")
    record(folder)
    assert "BudgetExceeded" in _run(folder, "--stratum-record-all", failed=1)
