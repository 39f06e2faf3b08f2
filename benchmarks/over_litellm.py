"""Measure what `@infer` adds to `litellm.acompletion`, on loopback.

    python benchmarks/over_litellm.py

The server is a process of its own, so that only the client's side is counted. What counts is
the processor's time: the clock also shows how long the server took.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

from measuring import Spent, interleaved, ratio, table, timed
from subject import TEXTS, classify, local_model

from stratum import LiteLLMClient, using

CALLS = 5  # in a round
BARE = "litellm.acompletion on loopback"
TYPED = "@infer over it"


async def bare_call(client: LiteLLMClient) -> Callable[[], Awaitable[Any]]:
    """Return the very call that `@infer` makes, without it."""
    litellm = await client._load()
    request = classify._ask({"text": TEXTS[0]}).request
    arguments = client._asked(request, client._first(request, litellm), litellm).arguments
    return lambda: litellm.acompletion(**deepcopy(arguments))


async def typed_call() -> Any:
    return await classify(text=TEXTS[0])


def round_of(runner: asyncio.Runner, ask: Callable[[], Awaitable[Any]]) -> Callable[[], Spent]:
    async def calls() -> None:
        for _ in range(CALLS):
            await ask()
        await asyncio.sleep(0.02)  # for what litellm does after a call

    return lambda: timed(lambda: runner.run(calls())).each(CALLS)


def main() -> None:
    with local_model() as url, asyncio.Runner() as runner:
        os.environ |= {"OPENAI_API_BASE": url, "OPENAI_API_KEY": "local-model-key"}
        client = LiteLLMClient()
        bare = runner.run(bare_call(client))
        with using(client=client):
            works = {BARE: round_of(runner, bare), TYPED: round_of(runner, typed_call)}
            spent = interleaved(works, rounds=60)
    table(spent, unit="ms")
    ratio(f"{TYPED} / {BARE}", spent[TYPED], spent[BARE], "1.15 (cpu)")


if __name__ == "__main__":
    main()
