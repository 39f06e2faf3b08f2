"""Measure a replayed call of a 2 KB prompt, beside what others do with the same call.

    python benchmarks/replayed_call.py

Ours compiles the prompt, finds the answer, validates it, checks a condition and leaves a
trace record. The others are asked for the same answer through the openai client, with body
matching, and validate it with the same class: with a cassette of one call that stays open, with
one of many calls, and with one that is opened for each call, as a test does. dspy and litellm
answer from their in-process caches.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from measuring import Spent, interleaved, ratio, table, timed
from subject import CALLS, INTENT, TEXTS, Replay, Sentiment, local_model, record

Work = Callable[[], Spent]

OURS = "stratum, awaited"
OURS_RUN = "stratum, .run()"
THEIRS = 10  # calls in a round of those that take milliseconds
TEXT = TEXTS[0]
MANY = 30  # recorded calls in the larger cassette


def sent(text: str) -> dict[str, Any]:
    """Return the call's arguments for the openai client."""
    schema = {"name": "answer", "schema": Sentiment.model_json_schema()}
    return {
        "model": "stratum-local-rules",
        "messages": [
            {"role": "system", "content": INTENT},
            {"role": "user", "content": f"text: {text}"},
        ],
        "response_format": {"type": "json_schema", "json_schema": schema},
    }


SENT = [sent(text) for text in TEXTS[:MANY]]


def read(completion: Any) -> Sentiment:
    return Sentiment.model_validate_json(completion.choices[0].message.content)


@contextmanager
def ours(folder: Path, runner: asyncio.Runner) -> Iterator[dict[str, Work]]:
    replay = Replay(record(folder))
    yield {
        OURS: lambda: timed(lambda: replay.awaited(runner)).each(CALLS),
        OURS_RUN: lambda: timed(replay.synchronous).each(CALLS),
    }


class OpenAI:
    """The same call through the openai client; `cassette(name, mode)` opens a cassette."""

    def __init__(self, name: str, url: str, cassette: Callable[[str, str], Any]) -> None:
        import openai

        self._name = name
        self._cassette = cassette
        self._client = openai.OpenAI(base_url=url, api_key="local", max_retries=0)
        self._async = openai.AsyncOpenAI(base_url=url, api_key="local", max_retries=0)
        with cassette("one", "once"):
            self._ask(SENT[0])
        with cassette("many", "once"):
            for arguments in SENT:
                self._ask(arguments)

    def _ask(self, arguments: Mapping[str, Any]) -> None:
        read(self._client.chat.completions.create(**arguments))

    async def _asked(self, calls: Sequence[Mapping[str, Any]]) -> None:
        for arguments in calls:
            read(await self._async.chat.completions.create(**arguments))

    async def _asked_in_tests(self) -> None:
        for _ in range(THEIRS):
            with self._cassette("one", "none"):
                await self._asked(SENT[:1])

    def _synchronous(self) -> Spent:
        with self._cassette("one", "none"):
            return timed(lambda: [self._ask(SENT[0]) for _ in range(THEIRS)]).each(THEIRS)

    def _awaited(
        self, runner: asyncio.Runner, name: str, calls: Sequence[Mapping[str, Any]]
    ) -> Spent:
        with self._cassette(name, "none"):
            return timed(lambda: runner.run(self._asked(calls))).each(len(calls))

    def works(self, runner: asyncio.Runner) -> dict[str, Work]:
        name = self._name
        return {
            f"{name}, awaited": lambda: self._awaited(runner, "one", SENT[:1] * THEIRS),
            f"{name}, awaited, {MANY} recorded": lambda: self._awaited(runner, "many", SENT),
            f"{name}, awaited, a cassette for each": lambda: timed(
                lambda: runner.run(self._asked_in_tests())
            ).each(THEIRS),
            f"{name}, synchronous": self._synchronous,
        }


def with_vcrpy(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    import vcr

    matching = ["method", "scheme", "host", "port", "path", "query", "body"]
    recorder = vcr.VCR(match_on=matching)

    def cassette(name: str, mode: str) -> Any:
        path = str(folder / f"vcrpy-{name}.yaml")
        return recorder.use_cassette(path, record_mode=mode, allow_playback_repeats=True)

    return OpenAI("vcrpy", url, cassette).works(runner)


def with_cassetter(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    from cassetter import use_cassette

    def cassette(name: str, mode: str) -> Any:
        path = folder / f"cassetter-{name}.yaml"
        return use_cassette(path, record_mode=mode, match_on=["method", "uri", "body"])

    return OpenAI("cassetter", url, cassette).works(runner)


def with_litellm(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    from litellm.caching.caching import Cache

    litellm.suppress_debug_info = True
    litellm.cache = Cache(type="local")
    litellm.enable_cache()
    arguments = {**SENT[0], "model": "openai/stratum-local-rules", "api_base": url}

    async def asked() -> bool:
        answer = await litellm.acompletion(**arguments, api_key="local", caching=True)
        read(answer)
        return bool(answer._hidden_params.get("cache_hit"))

    async def calls() -> None:
        for _ in range(THEIRS):
            assert await asked(), "litellm asked the server"

    async def first() -> None:
        await asked()
        await asyncio.sleep(0.2)  # litellm fills its cache after it has answered

    runner.run(first())
    runner.run(calls())
    return {"litellm cache, awaited": lambda: timed(lambda: runner.run(calls())).each(THEIRS)}


def with_dspy(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import dspy

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    model = dspy.LM("openai/stratum-local-rules", api_base=url, api_key="local")
    predict = dspy.Predict("text -> label: Literal['positive', 'negative', 'neutral'], "
                           "confidence: float, reasoning: str", instructions=INTENT)  # fmt: skip

    def calls() -> None:
        with dspy.context(lm=model, adapter=dspy.JSONAdapter()):
            for _ in range(THEIRS):
                assert predict(text=TEXT).confidence > 0.1

    calls()
    return {"dspy cache, synchronous": lambda: timed(calls).each(THEIRS)}


OTHERS = (with_vcrpy, with_cassetter, with_dspy, with_litellm)  # dspy turns litellm's cache off


def gathered(folder: Path, url: str, stack: ExitStack) -> dict[str, Work]:
    """Return the others that can be run here; says which cannot, and why.

    Each has an event loop of its own: what litellm leaves to be logged later is done in its time.
    """
    works: dict[str, Work] = {}
    for make in OTHERS:
        try:
            works |= make(folder, url, stack.enter_context(asyncio.Runner()))
        except Exception as error:  # not installed, or changed since
            name = make.__name__.removeprefix("with_")
            print(f"{name} is left out: {type(error).__name__}: {str(error)[:300]}")
    return works


TARGETS = {"vcrpy": "1/50 = 0.0200", "cassetter": "1/8 = 0.1250"}


def report(spent: dict[str, Spent]) -> None:
    table(spent, unit="us")
    print("targets: at most 100 us awaited (aim at 50), 300 us through .run()")
    for name, theirs in spent.items():
        if name in (OURS, OURS_RUN):
            continue
        mine = OURS_RUN if "synchronous" in name else OURS
        ratio(f"{mine} / {name}", spent[mine], theirs, TARGETS.get(name.partition(",")[0], ""))


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        url = stack.enter_context(local_model())
        works = gathered(folder, url, stack)
        runner = stack.enter_context(asyncio.Runner())
        works = {**stack.enter_context(ours(folder, runner)), **works}
        report(interleaved(works, rounds=21))


if __name__ == "__main__":
    main()
