"""A call of an `@infer` function that is asked more than once."""

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

from stratum.attempts import Ask, Question
from stratum.budget import Budget
from stratum.engine import Run
from stratum.fan_out import Start
from stratum.prompts import Revision
from stratum.steps import Inputs


class Asked(NamedTuple):
    """A call: what is asked, with which inputs, and how it is asked once.

    `budget` is for all that the call does; `once` knows none. `revision` makes it a later
    turn of `@refine`.
    """

    question: Question
    inputs: Inputs
    values: Mapping[str, Any]
    budget: Budget | None
    once: Callable[..., Coroutine[Any, Any, Any]]
    first: Callable[[Revision | None], Ask]
    revision: Revision | None = None

    @property
    def function(self) -> str:
        return self.question.site.function

    def start(self, run: Run) -> Start:
        """Return what asks once; `run` is filled with what was asked and answered."""
        return partial(self.once, run=run, revision=self.revision)


class Way(Protocol):
    """How a function is asked: so often, or until that holds."""

    @property
    def samples(self) -> int:
        """How many answers one turn asks for at most."""
        ...

    async def perform(self, asked: Asked, run: Run, ended: BaseException | None = None) -> Any:
        """Ask, and give the value of the call; `run` gets the answer that stands for it."""
        ...

    def alone(self, answer: Any) -> Any:
        """Return the value of the call when this was its only answer, as a stub gives it."""
        ...

    def answer(self, value: Any) -> Any:
        """Return the answer that stands for a value of the call."""
        ...

    def with_samples(self, samples: int) -> "Way | None":
        """Return a way that takes so many samples everywhere; None when it takes its own."""
        ...

    def check(self, question: Question) -> None:
        """Raise `DeclarationError` for settings that it does not go with."""
        ...
