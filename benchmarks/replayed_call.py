"""Measure a replayed call of a 2 KB prompt, beside what others do with the same call.

    python benchmarks/replayed_call.py

Ours compiles the prompt, finds the answer, validates it, checks a condition and leaves a
trace record. The others are asked for the same answer through the openai client (vcrpy and
cassetter, one recorded interaction, body matching) and validate it with the same class;
dspy and litellm answer from their in-process caches.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
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
SENT: Mapping[str, Any] = {
    "model": "stratum-local-rules",
    "messages": [
        {"role": "system", "content": INTENT},
        {"role": "user", "content": f"text: {TEXT}"},
    ],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": Sentiment.model_json_schema()},
    },
}


def read(completion: Any) -> Sentiment:
    return Sentiment.model_validate_json(completion.choices[0].message.content)


def per_call(work: Callable[[], object], calls: int) -> Work:
    """Time work that makes some calls, and return what one takes."""

    def measured() -> Spent:
        spent = timed(work)
        return Spent(spent.wall / calls, spent.cpu / calls)

    return measured


@contextmanager
def ours(folder: Path, runner: asyncio.Runner) -> Iterator[dict[str, Work]]:
    replay = Replay(record(folder))
    yield {
        OURS: per_call(lambda: replay.awaited(runner), CALLS),
        OURS_RUN: per_call(replay.synchronous, CALLS),
    }


class OpenAI:
    """The same call through the openai client, a cassette open around each round."""

    def __init__(self, name: str, url: str, cassette: Callable[[bool], Any]) -> None:
        import openai

        self._name = name
        self._cassette = cassette
        self._client = openai.OpenAI(base_url=url, api_key="local", max_retries=0)
        self._async = openai.AsyncOpenAI(base_url=url, api_key="local", max_retries=0)
        with cassette(False):
            self._once()

    def _once(self) -> Sentiment:
        return read(self._client.chat.completions.create(**SENT))

    async def _awaited(self) -> None:
        for _ in range(THEIRS):
            read(await self._async.chat.completions.create(**SENT))

    def works(self, runner: asyncio.Runner) -> dict[str, Work]:
        def awaited() -> Spent:
            with self._cassette(True):
                return per_call(lambda: runner.run(self._awaited()), THEIRS)()

        def synchronous() -> Spent:
            with self._cassette(True):
                return per_call(lambda: [self._once() for _ in range(THEIRS)], THEIRS)()

        return {f"{self._name}, awaited": awaited, f"{self._name}, synchronous": synchronous}


def with_vcrpy(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    import vcr

    matching = ["method", "scheme", "host", "port", "path", "query", "body"]
    recorder = vcr.VCR(match_on=matching)

    def cassette(is_replay: bool) -> Any:
        mode = "none" if is_replay else "once"
        path = str(folder / "vcrpy.yaml")
        return recorder.use_cassette(path, record_mode=mode, allow_playback_repeats=True)

    return OpenAI("openai client under vcrpy", url, cassette).works(runner)


def with_cassetter(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    from cassetter import use_cassette

    def cassette(is_replay: bool) -> Any:
        mode = "none" if is_replay else "once"
        path = folder / "cassetter.yaml"
        return use_cassette(path, record_mode=mode, match_on=["method", "uri", "body"])

    return OpenAI("openai client under cassetter", url, cassette).works(runner)


def with_litellm(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    from litellm.caching.caching import Cache

    litellm.suppress_debug_info = True
    litellm.cache = Cache(type="local")
    litellm.enable_cache()
    sent = {**SENT, "model": "openai/stratum-local-rules", "api_base": url, "api_key": "local"}

    async def calls() -> None:
        for _ in range(THEIRS):
            read(await litellm.acompletion(**sent, caching=True))

    def measured() -> Spent:
        return per_call(lambda: runner.run(calls()), THEIRS)()

    runner.run(calls())
    return {"litellm's in-process cache, awaited": measured}


def with_dspy(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import dspy

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    model = dspy.LM("openai/stratum-local-rules", api_base=url, api_key="local")
    signature = dspy.Signature({"text": (str, dspy.InputField()),
                                "answer": (Sentiment, dspy.OutputField())}, INTENT)  # fmt: skip
    predict = dspy.Predict(signature)

    def calls() -> None:
        with dspy.context(lm=model, adapter=dspy.JSONAdapter()):
            for _ in range(THEIRS):
                assert predict(text=TEXT).answer.reasoning

    calls()
    return {"dspy's in-process cache, synchronous": per_call(calls, THEIRS)}


OTHERS = (with_vcrpy, with_cassetter, with_litellm, with_dspy)


def gathered(folder: Path, url: str, runner: asyncio.Runner) -> dict[str, Work]:
    """Return the others that can be run here; says which cannot, and why."""
    works: dict[str, Work] = {}
    for make in OTHERS:
        try:
            works |= make(folder, url, runner)
        except Exception as error:  # not installed, or changed since
            name = make.__name__.removeprefix("with_")
            print(f"{name} is left out: {type(error).__name__}: {str(error)[:300]}")
    return works


TARGETS = {"vcrpy": "1/50 = 0.0200", "cassetter": "1/8 = 0.1250"}


def report(spent: dict[str, Spent]) -> None:
    table(spent, unit="us")
    print("targets: at most 100 us awaited (aim at 50), 300 us through .run()")
    for name, each in spent.items():
        if name in (OURS, OURS_RUN):
            continue
        mine = OURS_RUN if "synchronous" in name else OURS
        target = next((aim for word, aim in TARGETS.items() if word in name), "")
        ratio(f"{mine} / {name}"[:52], spent[mine], each, target)


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        url = stack.enter_context(local_model())
        runner = stack.enter_context(asyncio.Runner())
        works = gathered(folder, url, runner)
        works = {**stack.enter_context(ours(folder, runner)), **works}
        report(interleaved(works, rounds=21))


if __name__ == "__main__":
    main()
