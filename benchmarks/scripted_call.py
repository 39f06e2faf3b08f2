"""Measure a call that a script answers.

python benchmarks/scripted_call.py
"""

import asyncio

from measuring import interleaved, table, timed
from stratum import ScriptedClient, using
from subject import ANSWER, CALLS, TEXTS, classify


async def scripted() -> None:
    with using(client=ScriptedClient(lambda request: ANSWER)):
        for text in TEXTS:
            await classify(text=text)


async def short() -> None:
    with using(client=ScriptedClient(lambda request: ANSWER)):
        for _ in TEXTS:
            await classify(text="I love it")


def main() -> None:
    with asyncio.Runner() as runner:
        works = {
            "a scripted call of a 2 KB prompt, awaited": lambda: timed(
                lambda: runner.run(scripted())
            ),
            "a scripted call of a short prompt, awaited": lambda: timed(
                lambda: runner.run(short())
            ),
        }
        table(interleaved(works, rounds=41, calls=CALLS), unit="us")
    print("target: at most 50 us")


if __name__ == "__main__":
    main()
