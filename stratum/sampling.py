"""Ask for several samples of a call, to see how they differ."""

from typing import Any

from stratum.attempts import Question
from stratum.engine import Run
from stratum.errors import AnswerRejected, CutOff, DeclarationError, Refused
from stratum.fan_out import contended, fan_out
from stratum.probabilistic import Probabilistic
from stratum.repeated import Asked
from stratum.scope import current, process
from stratum.steps import Span, inside_of
from stratum.trace import snapshot

IN_TESTS = 5  # samples that a test takes when the function says nothing


class Sampling:
    """Asks for samples side by side, all of them to their end, and gives a `Probabilistic`.

    In a test, that is under pytest, as many as are declared, else one: production pays for
    variance only where `.with_(samples=...)` says so (SPEC 16).
    """

    def __init__(self, declared: int | None, always: int | None = None) -> None:
        self._declared = declared
        self._always = always

    @property
    def samples(self) -> int:
        if self._always is not None:
            return self._always
        is_test = process.root is not None  # the pytest plugin sets one for each phase of a test
        return (self._declared or IN_TESTS) if is_test else 1

    def with_samples(self, samples: int) -> "Sampling":
        return Sampling(self._declared, samples)

    async def perform(self, asked: Asked, run: Run, ended: BaseException | None = None) -> Any:
        details: dict[str, Any] = {"samples": self.samples}
        span = Span("samples", asked.function, asked.values, asked.inputs)
        span.details = details
        try:
            async with inside_of(span, asked.budget, asked.function):
                if ended is not None:
                    raise ended
                value = await _taken(asked, run, self.samples)
        except BaseException as error:
            span.fail(error)
            raise
        details["agreement"] = round(value.agreement, 4)
        shown = [snapshot(each, asked.question.returns, span.secrets) for each in value.samples]
        span.succeed({"samples": shown}, Any)
        return value

    def alone(self, answer: Any) -> Any:
        return Probabilistic([answer])

    def answer(self, value: Any) -> Any:
        return value.most_likely()

    def check(self, question: Question) -> None:
        if question.cache != "none":
            raise DeclarationError(
                f"{question.site.function}: stable=False with cache={question.cache!r}: samples "
                "from a cache are all the same.\n  Leave one of the two out."
            )


async def _taken(asked: Asked, run: Run, samples: int) -> Probabilistic[Any]:
    runs = [Run() for _ in range(samples)]
    starts = [asked.start(each) for each in runs]
    ended = await fan_out(starts, turns=contended(current()))
    values, failures = ended.values, list(ended.errors.values())
    for error in failures:  # what no other sample can make up for
        if not isinstance(error, (AnswerRejected, Refused, CutOff)):
            raise error
    if not values:
        raise failures[0]
    contract = asked.question.contract
    answers = list(values.values())
    taken = Probabilistic(answers, failures, function=asked.function, contract=contract)
    best = taken.most_likely()
    run.data = next(runs[at].data for at, each in values.items() if each is best)
    return taken
