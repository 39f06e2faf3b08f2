"""Measure a call that a script answers.

python benchmarks/scripted_call.py
"""

import asyncio
from collections.abc import Sequence

from measuring import Spent, interleaved, table, timed
from subject import ANSWER, CALLS, TEXTS, classify

from stratum import ScriptedClient, using


async def scripted(texts: Sequence[str]) -> None:
    with using(client=ScriptedClient(lambda request: ANSWER)):
        for text in texts:
            await classify(text=text)


def main() -> None:
    with asyncio.Runner() as runner:

        def asked(texts: Sequence[str]) -> Spent:
            return timed(lambda: runner.run(scripted(texts))).each(CALLS)

        works = {
            "a scripted call of a 2 KB prompt, awaited": lambda: asked(TEXTS),
            "a scripted call of a short prompt, awaited": lambda: asked(["I love it"] * CALLS),
        }
        table(interleaved(works, rounds=41), unit="us")
    print("target: at most 50 us")


if __name__ == "__main__":
    main()
