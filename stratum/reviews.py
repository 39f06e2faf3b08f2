"""What is asked of a person, what comes back, and the seam to whoever shows it."""

from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue

ReviewEnding: TypeAlias = Literal["decided", "withdrawn", "expired"]


class PendingReview(BaseModel):
    """A question that waits for a person, as plain data (SPEC 19).

    `id` is a UUID made of run, place and key. `context` is shown as it is, opaque values and
    secrets included. `contract` is the JSON schema of the decision; `options`, if any, are all
    the values it may have.

    >>> review = PendingReview(id="5f0c2b4e-8b0f-5c53-9d0e-1c2d3e4f5a6b", question="Send it?")
    >>> PendingReview.model_validate_json(review.model_dump_json()) == review
    True
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")

    id: str
    question: str
    context: dict[str, JsonValue] = {}
    guidance: str | None = None
    contract: dict[str, JsonValue] = {}
    options: list[JsonValue] | None = None
    function: str = ""
    source: str = ""
    place: str = ""
    key: str = ""
    asked_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def choices(self) -> list[JsonValue] | None:
        """The values to choose from: the options, else those that the contract lists."""
        if self.options is not None:
            return self.options
        listed = self.contract.get("enum")
        return list(listed) if isinstance(listed, list) else None


class HumanAnswer(BaseModel):
    """What a person said: the decision as data, who decided, and a comment.

    >>> HumanAnswer(value="approve", reviewer="anna").comment is None
    True
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    value: Any
    reviewer: str | None = None
    comment: str | None = None


class ReviewSink(Protocol):
    """Where reviews are shown to people, and where their decisions come from.

    A review has one id for good: a sink that outlives the process finds it again.

    >>> class AlwaysYes:
    ...     async def submit(self, review: PendingReview) -> None: ...
    ...     async def decision(self, review_id: str) -> HumanAnswer:
    ...         return HumanAnswer(value="yes")
    ...     async def reject(self, review_id: str, problems: tuple[str, ...]) -> None: ...
    ...     async def close(self, review_id: str, ending: ReviewEnding) -> None: ...
    >>> sink: ReviewSink = AlwaysYes()
    """

    async def submit(self, review: PendingReview) -> None:
        """Publish a review. Of an id that waits already, or was decided and not taken, nothing
        changes."""
        ...

    async def decision(self, review_id: str) -> HumanAnswer:
        """Wait for the next decision; may be cancelled at any time."""
        ...

    async def reject(self, review_id: str, problems: tuple[str, ...]) -> None:
        """Say what is wrong with the last decision; another one is waited for."""
        ...

    async def close(self, review_id: str, ending: ReviewEnding) -> None:
        """Stop asking: the decision was taken, nobody needs it any more, or the time is up."""
        ...
