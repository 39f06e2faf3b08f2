"""Measure what `parallel` adds to the calls that it runs.

python benchmarks/parallel_calls.py
"""

import asyncio

from measuring import Spent, interleaved, ratio, table, timed
from subject import ANSWER, TEXTS, classify

from stratum import ScriptedClient, parallel, using

CALLS = 1000
ASKED = TEXTS * (CALLS // len(TEXTS))


def scripted() -> ScriptedClient:
    return ScriptedClient(lambda request: ANSWER)


async def one_by_one() -> None:
    with using(client=scripted()):
        for text in ASKED:
            await classify(text=text)


async def together() -> None:
    with using(client=scripted()):
        await parallel(*(classify(text=text) for text in ASKED))


def main() -> None:
    with asyncio.Runner() as runner:

        def spent_by(work: str) -> Spent:
            coroutine = {"together": together, "one by one": one_by_one}[work]
            return timed(lambda: runner.run(coroutine())).each(CALLS)

        works = {
            f"{CALLS:,} scripted calls, one by one": lambda: spent_by("one by one"),
            f"{CALLS:,} scripted calls in one parallel": lambda: spent_by("together"),
        }
        spent = interleaved(works, rounds=41)
    table(spent, unit="us")
    sequential, parallel_ = spent.values()
    ratio("parallel / one by one", parallel_, sequential, "1.3")


if __name__ == "__main__":
    main()
