"""`stratum.testing`."""

from typing import Any, Literal, assert_type

from stratum import contract, infer
from stratum.testing import SchemaClient, ScriptedClient, Stub, example_of, examples_of, stub


@contract
class Mood:
    label: Literal["good", "bad"]


@infer(intent="Name the mood")
def mood(text: str) -> Mood: ...


@stub(mood, {"label": "good"})
def a_decorated_test(tmp_path: str) -> int:
    return len(tmp_path)


def stubs_and_values() -> None:
    with stub(mood, Mood(label="good")) as stubbed:
        assert_type(stubbed, Stub)
        assert_type(stubbed.calls, list[dict[str, Any]])
    assert_type(a_decorated_test(tmp_path="here"), int)
    assert_type(example_of(Mood), Mood)
    assert_type(example_of(Mood, seed=3).label, Literal["good", "bad"])
    assert_type(examples_of(Mood, 3), list[Mood])
    assert_type(example_of(Literal["a", "b"]), Any)
    assert_type(len(ScriptedClient([]).requests), int)
    assert_type(SchemaClient(seed=1).requests[0].model, str)
    a_decorated_test(4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    example_of(Mood, sede=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    stub(mood)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
