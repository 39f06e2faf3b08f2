"""A sink that asks on the terminal."""

import asyncio
import getpass
from contextlib import ExitStack

from stratum.reviews import HumanAnswer, PendingReview, ReviewEnding
from stratum.scope import process
from stratum.sinks.shown import lines_of, ways_to_answer
from stratum.sinks.terminal import Terminal, ended, terminal
from stratum.sinks.typed import answer_of
from stratum.text import escape

PAUSE = 0.05  # seconds between two looks at the terminal


class ConsoleSink:
    """Asks on the terminal, one review after the other, whoever asks in this process.

    A review that is withdrawn while it waits leaves no thread and no half-typed answer behind.
    What was typed before a question stood there answers nothing. `reviewer` is who sits at the
    terminal, else the name that the system knows.

    >>> ConsoleSink(reviewer="anna")
    <ConsoleSink>
    """

    def __init__(self, *, reviewer: str | None = None) -> None:
        self._reviewer = reviewer
        self._open: dict[str, _Asking] = {}

    async def submit(self, review: PendingReview) -> None:
        if review.id not in self._open:
            self._open[review.id] = asking = _Asking(review)
            process.at_console.append(asking)

    async def decision(self, review_id: str) -> HumanAnswer:
        asking = self._open[review_id]
        while not asking.is_next():  # of all loops and threads  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)
        at = asking.begin()
        while (line := _line(at)) is None:  # noqa: ASYNC110
            await asyncio.sleep(PAUSE)
        answer = answer_of(line, asking.review)
        return answer.model_copy(update={"reviewer": self._reviewer or login()})

    async def reject(self, review_id: str, problems: tuple[str, ...]) -> None:
        self._open[review_id].complain(problems)

    async def close(self, review_id: str, ending: ReviewEnding) -> None:
        asking = self._open.pop(review_id, None)
        if asking is not None:
            process.at_console.remove(asking)
            asking.end(ending)

    def __repr__(self) -> str:
        return "<ConsoleSink>"


class _Asking:
    """A review that waits for the terminal, or has it."""

    def __init__(self, review: PendingReview) -> None:
        self.review = review
        self._loop = asyncio.get_running_loop()
        self._stack = ExitStack()
        self._at: Terminal | None = None

    def is_next(self) -> bool:
        """Say whether nobody else in line is still there: a loop may be closed under a review."""
        waiting = (each for each in process.at_console if isinstance(each, _Asking))
        return next((each for each in waiting if not each._loop.is_closed()), None) is self

    def begin(self) -> Terminal:
        """Take the terminal and show the question, unless it stands there."""
        if self._at is None:
            self._at = self._stack.enter_context(terminal())
            asked = [*lines_of(self.review), *ways_to_answer(self.review)]
            self._at.forget_typed()
            self._at.write("\n" + "\n".join(asked) + "\n> ")
        return self._at

    def complain(self, problems: tuple[str, ...]) -> None:
        assert self._at is not None
        said = "".join(f"  {escape(problem)}\n" for problem in problems)
        self._at.write(f"That is no decision:\n{said}> ")

    def end(self, ending: ReviewEnding) -> None:
        if self._at is not None and ending != "decided":
            self._at.forget_typed()
            self._at.write(f"\n({ending}: nobody needs to decide any more)\n")
        self._stack.close()


def _line(at: Terminal) -> str | None:
    try:
        return at.line()
    except EOFError:
        raise ended() from None


def login() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None
