"""SPEC 17: `@refine`."""

from pathlib import Path
from typing import Any

import pytest

from stratum import ConvergenceFailure, DeclarationError, Request, infer, refine
from stratum.clients.messages import messages
from tests.replaying import Recorded
from tests.scripted import answering, records


@refine(until=lambda n: n > 9, feedback=lambda n: f"{10 - n} more")
@infer(intent="Say a number", retries=1, ensure=lambda n: n > 0)
def number(text: str) -> int: ...


def test_17_1_it_asks_until_the_output_will_do() -> None:
    with answering(3, 12) as client:
        assert number.run(text="x") == 12
    assert len(client.requests) == 2


def test_17_2_a_turn_sends_the_first_messages_the_last_output_and_what_it_lacks() -> None:
    with answering(3, 5, 12) as client:
        number.run(text="x")
    first, second, third = (messages(request) for request in client.requests)
    assert second[:2] == third[:2] == first
    assert [each["content"] for each in (second[2], third[2])] == ["3", "5"]
    assert "until: n > 9 (actual: 5)\n  - 5 more" in third[3]["content"]
    assert len(third) == 4


def test_17_2_a_retry_within_a_turn_comes_after_that() -> None:
    with answering(3, -1, 12) as client:
        number.run(text="x")
    sent = messages(client.requests[2])
    assert sent[:4] == messages(client.requests[1])
    assert sent[5]["content"].startswith("Previous attempt failed:")


def test_17_3_when_the_last_turn_will_not_do_it_fails_with_its_history() -> None:
    with answering(3, 4, 5), pytest.raises(ConvergenceFailure, match="after 3 turns") as caught:
        number.run(text="x")
    assert [output for output, _ in caught.value.history] == [3, 4, 5]


def test_17_4_each_turn_has_its_index() -> None:
    with answering(3, 12) as client:
        number.run(text="x")
    assert [str(request.place) for request in client.requests] == ["0#0", "1#0"]


def test_17_5_a_replay_goes_the_same_turns(tmp_path: Path) -> None:
    async def ask() -> Any:
        return await number(text="x")

    def at_random(request: Request, chance: Any) -> Any:
        return {"value": chance.randrange(15)}

    recorded = Recorded(tmp_path, ask, at_random, seed=2)
    assert all(recorded.replay(again) == recorded.first for again in range(10))


def test_17_6_below_infer_it_is_refused() -> None:
    with pytest.raises(DeclarationError, match="line above @infer"):
        refine(until=lambda n: n > 9)(len)  # type: ignore[arg-type]


def test_17_7_it_leaves_a_record_above_those_of_its_turns() -> None:
    with answering(3, 12):
        number.run(text="x")
    *turns, whole = records()
    assert (whole.kind, {each.parent for each in turns}) == ("refine", {whole.id})
