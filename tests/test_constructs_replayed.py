"""Whole projects of concurrent constructs, recorded over HTTP at random, replay as recorded."""

import random
import time
from threading import Lock
from typing import Any

PYPROJECT = """
    [tool.stratum]
    model = "openai/stratum-local-rules"

    [tool.stratum.prices]
    "openai/stratum-local-rules" = { input = 1.0, output = 100.0 }

    [tool.pytest.ini_options]
    filterwarnings = ["error"]
    asyncio_default_fixture_loop_scope = "function"
"""

APP = """
    import asyncio
    import litellm
    import stratum
    from stratum import (Budget, adaptive, await_human, compute, debate, flow, infer, parallel,
                         race, refine)
    from stratum.scope import current

    @infer(intent="Say a number")
    def say(text: str) -> int: ...

    @infer(intent="Say a large number", ensure=lambda n: n > 40, retries=2)
    def large(text: str) -> int: ...

    @infer(intent="Say a number at once", budget=Budget(ms=120))
    def hurried(text: str) -> int: ...

    @infer(intent="Say a number once", cache="session")
    def known(text: str) -> int: ...

    @infer(intent="Say a digit", quorum=3, threshold=2)
    def agreed(text: str) -> bool: ...

    @infer(intent="Say a number, more than once", stable=False, samples=3)
    def sampled(text: str) -> int: ...

    @refine(until=lambda n: n > 60)
    @infer(intent="Say a number, again")
    def refined(text: str) -> int: ...

    @infer(intent="Argue")
    def first_agent(topic: str, own: int | None, others: list[int]) -> int: ...

    @infer(intent="Argue against it")
    def second_agent(topic: str, own: int | None, others: list[int]) -> int: ...

    @infer(intent="Sum up")
    def sum_up(topic: str, arguments: list[int]) -> int: ...

    def rule(text):
        return len(text)

    @adaptive(compute=rule, infer=say, when=lambda text: len(text) > 3)
    def by_rule(text: str) -> int: ...

    @flow
    async def twice(text: str) -> int:
        return await say(text=text) + await say(text=f"{text} again")

    @flow
    async def raced(text: str) -> int:
        return await race(twice(text), say(text=text))

    @flow
    def in_turn(text: str) -> int:
        one = say(text=text) + say(text=text)
        return one + raced(text) + known(text=text)

    acompletion = stratum.wrap(litellm.acompletion)

    @flow
    async def direct(text: str) -> str:
        messages = [{"role": "user", "content": text}]
        done = await acompletion(model="openai/stratum-local-rules", messages=messages)
        return done.choices[0].message.content

    @flow
    async def asked_of_anna(text: str) -> bool:
        number = await say(text=text)
        return (await await_human(f"Is {number} enough?", decision=bool)).value

    @flow
    async def debated(text: str) -> int:
        return await debate([first_agent, second_agent], text, synthesize=sum_up, rounds=2)

    @flow(budget=Budget(usd=0.004))
    async def poor(text: str):
        steps = [say(text=f"{text} {n}") for n in range(4)]
        ends = await parallel(*steps, large(text=text), require=0)
        return [shown(end) for end in ends], str(current().ledger.spent)

    @flow(budget=Budget(tokens=1500))
    async def short_of_tokens(text: str):
        return await parallel(*(twice(f"{text} {n}") for n in range(6)), require=2), str(
            current().ledger.spent)

    @flow(budget=Budget(ms=150))
    async def late(text: str):
        return await race(refined(text=text), twice(f"{text} {text}"))

    async def enough(values):
        return sum(values) > 90

    def shown(end):
        return end.value if end.ok else f"{type(end.error).__name__}: {end.error}"

    async def any_of_all():
        return await race(debated("a"), twice("a"), asked_of_anna("a"), direct("say a"),
                          by_rule(text="a"))

    async def nested():
        return await parallel(
            race(large(text="a"), twice("b"), limit=1),
            parallel(*(say(text="a") for _ in range(5)), require="any", validate=enough),
            parallel(agreed(text="a"), sampled(text="a"), refined(text="a"), require=2),
            race(race(debated("a"), large(text="b")), asked_of_anna("b"), direct("say b")),
            parallel(*(large(text=str(n)) for n in range(6)), require=3, limit=2),
            require=0)

    async def in_threads():
        return await race(asyncio.to_thread(in_turn, "a"), twice("c"), say(text="z"))

    async def budgets():
        return await parallel(poor("a"), short_of_tokens("b"), poor("a"), require=0)

    async def times():
        return await parallel(late("a"), hurried(text="b"), race(hurried(text="a"), late("c")),
                              require=0)

    async def caches():
        return await parallel(known(text="a"), race(known(text="a"), known(text="b")), require=0)

    async def agreements():
        return await parallel(agreed(text="x"), race(agreed(text="y"), sampled(text="y")),
                              refined(text="x"), require=0)
"""

TESTS = """
    import asyncio
    import json
    import app
    import pytest
    import stratum

    stratum.configure(review_sink=lambda review: stratum.HumanAnswer(value=True, reviewer="anna"))

    def whole(scenario):
        async def run():
            try:
                value = await scenario()
            except Exception as error:
                return f"{type(error).__name__}: {error}"
            if isinstance(value, tuple):
                value = [app.shown(v) if hasattr(v, "ok") else v for v in value]
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not [each for each in others if "litellm" not in str(each)]
            return value
        return asyncio.run(run())

    @pytest.mark.parametrize("time", range(2))
    @pytest.mark.parametrize("name", ["any_of_all", "nested", "in_threads", "budgets", "times",
                                      "caches", "agreements"])
    def test_it(name, time, note, traces):
        value = whole(getattr(app, name))
        note(value, json.dumps(traces.tree()))

    def test_in_turn(note, traces):
        note(app.in_turn("a"), json.dumps(traces.tree()))
"""


class AtRandom:
    """A model that says any number, after any time; `asked` counts the requests."""

    def __init__(self, slowest: float = 0.04) -> None:
        self._lock = Lock()
        self._slowest = slowest
        self.asked = 0

    def __call__(self, body: Any) -> Any:
        with self._lock:
            self.asked += 1
        time.sleep(random.random() * self._slowest)
        said = str(body["messages"])
        if "digit" in said:
            return {"value": random.random() < 0.5}
        return {"value": random.randrange(100)}
