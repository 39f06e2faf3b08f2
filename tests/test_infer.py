"""Calls of `@infer` functions, from their arguments to their value."""

import asyncio
import threading
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from stratum import (
    ContractViolated,
    NotAwaited,
    PreconditionFailed,
    ScriptedClient,
    infer,
    using,
)
from stratum.steps import Call
from tests.scripted import MODEL, answering, records, sent


class Verdict(BaseModel):
    label: str
    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0


@infer(intent="Judge the text")
def judged(text: str, strict: bool = False, tags: list[str] | None = None) -> Verdict: ...


@infer(intent="Judge the text")
async def judged_later(text: str) -> Verdict:
    raise NotImplementedError


@infer(intent="Count the words")
def counted(text: str) -> int:
    """The body never runs."""
    raise NotImplementedError


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    @infer(intent="Answer the customer", given=lambda text: len(text) > 1)
    def answer(self, text: str, polite: bool = True) -> str: ...

    @staticmethod
    @infer(intent="Greet the customer")
    def greet(name: str) -> str: ...

    @classmethod
    @infer(intent="Name the shop")
    def named(cls, kind: str) -> str: ...


GOOD = {"label": "good"}


async def test_an_awaited_call_gives_the_value_of_the_contract() -> None:
    with answering(GOOD):
        assert await judged(text="fine") == Verdict(label="good")


def test_run_waits_for_the_value() -> None:
    with answering(GOOD):
        assert judged.run(text="fine") == Verdict(label="good")


async def test_an_async_def_is_called_the_same_way() -> None:
    with answering(GOOD):
        assert await judged_later(text="fine") == Verdict(label="good")


def test_an_answer_that_is_no_object_is_read_from_its_wrapper() -> None:
    with answering({"value": 3}):
        assert counted.run(text="a b c") == 3


def test_a_function_keeps_its_name_and_docstring() -> None:
    assert (counted.__name__, counted.__doc__) == ("counted", "The body never runs.")
    assert repr(judged) == "<@infer judged>"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        pytest.param(("a", True, ["b"]), {}, id="positional"),
        pytest.param(("a",), {"tags": ["b"], "strict": True}, id="mixed"),
        pytest.param((), {"text": "a", "strict": True, "tags": ["b"]}, id="by-name"),
        pytest.param((), {"tags": ["b"], "strict": True, "text": "a"}, id="other-order"),
    ],
)
def test_however_arguments_are_written_the_key_is_the_same(args: tuple, kwargs: dict) -> None:
    with answering(GOOD, GOOD) as client:
        judged.run("a", True, tags=["b"])
        judged.run(*args, **kwargs)
    first, second = client.requests
    assert (first.key, first.prompt, first.inputs) == (second.key, second.prompt, second.inputs)


def test_a_default_is_part_of_the_prompt() -> None:
    with answering(GOOD, GOOD) as client:
        judged.run("a")
        judged.run("a", strict=False, tags=None)
    first, second = client.requests
    assert first.prompt.text == "text: a\nstrict: false\ntags: null"
    assert first.key == second.key


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        pytest.param((), {"txt": "a"}, "missing a required argument: 'text'", id="misspelt"),
        pytest.param(("a",), {"more": 1}, "unexpected keyword argument 'more'", id="unknown"),
        pytest.param(("a", True, None, 4), {}, "too many positional arguments", id="too-many"),
        pytest.param(("a",), {"text": "b"}, "multiple values for argument 'text'", id="twice"),
    ],
)
def test_a_wrong_argument_is_a_type_error_at_the_call(args: tuple, kwargs: dict, said: str) -> None:
    with pytest.raises(TypeError, match=f"^judged: .*{said}"):
        judged(*args, **kwargs)


def test_self_is_neither_in_the_prompt_nor_in_the_key() -> None:
    with answering("a", "b", "c") as client:
        Shop("one").answer.run("Hello")
        Shop("two").answer.run(text="Hello", polite=True)
        Shop.answer.run(Shop("three"), "Hello")
    assert sent(client) == ["text: Hello\npolite: true"] * 3
    assert len({request.key for request in client.requests}) == 1


async def test_a_method_is_awaited_through_its_instance() -> None:
    with answering("Hi"):
        assert await Shop("one").answer("Hello") == "Hi"


def test_a_bound_method_can_be_changed_and_called() -> None:
    with answering("Hi") as client:
        Shop("one").answer.with_(model="other/model").run("Hello")
    assert client.requests[0].model == "other/model"
    assert sent(client) == ["text: Hello\npolite: true"]


def test_a_bound_method_compiles_without_self() -> None:
    assert Shop("one").answer.compile("Hello").text == "text: Hello\npolite: true"


def test_a_method_is_recorded_under_its_qualified_name() -> None:
    with answering("Hi"):
        Shop("one").answer.run("Hello")
    assert records()[0].function == "Shop.answer"
    assert records()[0].inputs == {"text": "Hello", "polite": True}


def test_a_static_method_takes_all_its_arguments() -> None:
    with answering("a", "b") as client:
        Shop.greet.run("Ann")
        Shop("one").greet.run(name="Ann")
    assert sent(client) == ["name: Ann"] * 2


def test_a_class_method_leaves_its_class_out() -> None:
    with answering("a", "b") as client:
        Shop.named.run(kind="books")
        Shop("one").named.run(kind="books")
    assert sent(client) == ["kind: books"] * 2


def test_compile_shows_the_prompt_and_sends_nothing() -> None:
    with answering() as client:
        prompt = judged.compile(text="fine")
    assert str(prompt) == "Judge the text\n\ntext: fine\nstrict: false\ntags: null"
    assert client.requests == []


async def test_estimate_says_what_the_call_costs_at_most() -> None:
    client = ScriptedClient([], tokens=(200, 0), price=(1.0, 10.0))
    with using(client=client, model=MODEL):
        estimate = await judged.with_(params={"max_tokens": 100}).estimate(text="fine")
    assert (estimate.input_tokens, estimate.output_tokens) == (200, 100)
    assert estimate.usd == pytest.approx(0.0012)
    assert client.requests == []


def test_with_changes_a_copy_only() -> None:
    changed = judged.with_(model="other/model", retries=0, params={"seed": 7}, cache="session")
    assert (changed.question.model, changed.question.retries) == ("other/model", 0)
    assert (changed.question.params, changed.question.cache) == ({"seed": 7}, "session")
    assert (judged.question.model, judged.question.retries) == (None, 2)
    assert (judged.question.params, judged.question.cache) == ({}, "none")


def test_params_of_with_are_added_to_those_declared() -> None:
    @infer(intent="Judge", temperature=0.5, params={"seed": 1})
    def ask(text: str) -> str: ...

    changed = ask.with_(params={"seed": 2, "top_p": 1})
    assert changed.question.params == {"temperature": 0.5, "seed": 2, "top_p": 1}


async def test_a_precondition_sends_nothing() -> None:
    with answering("Hi") as client, pytest.raises(PreconditionFailed) as caught:
        await Shop("one").answer("H")
    assert str(caught.value) == (
        "Shop.answer was called with inputs it does not take:\n"
        '  - given: len(text) > 1 (actual: "H")'
    )
    assert client.requests == []


def test_without_retries_a_wrong_answer_is_asked_once() -> None:
    with answering({"label": 3}) as client, pytest.raises(ContractViolated):
        judged.with_(retries=0).run("a")
    assert len(client.requests) == 1


def started(call: Call[Verdict], way: str) -> object:
    match way:
        case "gather":
            return asyncio.gather(call)
        case "create_task":
            return asyncio.create_task(call)
        case "ensure_future":
            return asyncio.ensure_future(call)
        case "shield":
            return asyncio.shield(call)
    return asyncio.wait_for(call, 5)


@pytest.mark.parametrize("way", ["gather", "create_task", "ensure_future", "shield", "wait_for"])
async def test_asyncio_takes_a_call_like_any_coroutine(way: str) -> None:
    with answering(GOOD):
        value = await started(judged(text="a"), way)
    assert value == ([Verdict(label="good")] if way == "gather" else Verdict(label="good"))


async def test_a_task_group_takes_a_call() -> None:
    with answering(GOOD):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(judged(text="a"))
    assert task.result() == Verdict(label="good")


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_asyncio_run_takes_a_call(debug: bool) -> None:
    with answering(GOOD):
        assert asyncio.run(judged(text="a"), debug=debug) == Verdict(label="good")


async def test_a_task_of_a_call_can_be_shown() -> None:
    with answering(GOOD):
        task = asyncio.create_task(judged(text="a"))
        assert "Task pending" in repr(task)
        assert isinstance(task.get_stack(), list)
        await task


async def test_run_in_a_running_loop_raises_at_once() -> None:
    with answering(GOOD) as client, pytest.raises(NotAwaited) as caught:
        judged.run(text="a")
    assert str(caught.value) == (
        "judged.run() was called inside a running event loop, which it would block.\n"
        "  Write `await judged(...)` there."
    )
    assert client.requests == []


async def test_run_works_in_a_thread_beside_a_running_loop() -> None:
    with answering(GOOD):
        assert await asyncio.to_thread(judged.run, text="a") == Verdict(label="good")


def test_run_works_from_many_threads_at_once() -> None:
    values: list[Verdict] = []

    def work(number: int) -> None:
        with answering({"label": str(number)}):
            values.append(judged.run(text=f"text {number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(value.label for value in values) == [str(number) for number in range(8)]


def test_the_error_of_a_call_reaches_the_caller_of_run() -> None:
    with answering(KeyError("lost")), pytest.raises(KeyError, match="lost"):
        judged.run(text="a")
