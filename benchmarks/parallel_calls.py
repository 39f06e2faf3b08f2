"""Measure what `parallel` adds to the calls that it runs.

python benchmarks/parallel_calls.py
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from measuring import Spent, interleaved, ratio, table, timed
from subject import ANSWER, TEXTS, Sentiment, classify

from stratum import ScriptedClient, parallel, using

CALLS = 1000
ASKED = TEXTS * (CALLS // len(TEXTS))


def scripted() -> ScriptedClient:
    return ScriptedClient(lambda request: ANSWER)


async def one_by_one() -> list[Sentiment]:
    with using(client=scripted()):
        return [await classify(text=text) for text in ASKED]


async def one_by_one_dropped() -> None:
    with using(client=scripted()):
        for text in ASKED:
            await classify(text=text)


async def together() -> tuple[Sentiment, ...]:
    with using(client=scripted()):
        return await parallel(*(classify(text=text) for text in ASKED))


WORKS = {
    f"{CALLS:,} scripted calls in one parallel": together,
    f"{CALLS:,} scripted calls, one by one": one_by_one,
    "the same, each value dropped at once": one_by_one_dropped,
}


def main() -> None:
    with asyncio.Runner() as runner:

        def spent_by(work: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Spent]:
            return lambda: timed(lambda: runner.run(work())).each(CALLS)

        spent = interleaved({name: spent_by(work) for name, work in WORKS.items()}, rounds=41)
    table(spent, unit="us")
    together_, kept, dropped = spent.values()
    ratio("parallel / one by one", together_, kept, "1.3")
    ratio("parallel / one by one, each value dropped at once", together_, dropped)


if __name__ == "__main__":
    main()
