"""A sink that writes reviews into a folder, for other processes to decide."""

import asyncio
from pathlib import Path

from stratum.reviews import HumanAnswer, PendingReview, ReviewEnding
from stratum.scope import settings
from stratum.sinks.folder import ReviewFolder


class FileSink:
    """Publishes reviews in a folder; `stratum review decide` answers them from any shell.

    The folder is `.stratum/reviews` of the project unless another is given. It holds what the
    person is shown, opaque values and secrets too, and is not meant to be committed.

    >>> FileSink("/tmp/reviews")
    FileSink('/tmp/reviews')
    """

    def __init__(self, folder: str | Path | None = None, *, pause: float = 0.25) -> None:
        self._given = folder
        self._pause = pause  # seconds between two looks at the folder

    @property
    def _folder(self) -> ReviewFolder:
        given = self._given
        return ReviewFolder(settings().state_folder / "reviews" if given is None else Path(given))

    async def submit(self, review: PendingReview) -> None:
        self._folder.publish(review)

    async def decision(self, review_id: str) -> HumanAnswer:
        folder = self._folder
        while True:
            ended = folder.ended(review_id)
            if ended is not None and ended.answer is not None:
                return ended.answer
            await asyncio.sleep(self._pause)

    async def reject(self, review_id: str, problems: tuple[str, ...]) -> None:
        self._folder.reject(review_id, problems)

    async def close(self, review_id: str, ending: ReviewEnding) -> None:
        self._folder.close(review_id, ending)

    def __repr__(self) -> str:
        return f"FileSink({str(self._given) if self._given is not None else ''!r})"
