"""A folder of reviews that several processes use at once."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stratum.errors import ReviewError
from stratum.recording.files import dump_json, parse_json
from stratum.reviews import HumanAnswer, PendingReview, ReviewEnding
from stratum.sinks.typed import word_of
from stratum.text import escape, truncate

Status: TypeAlias = Literal["open", "decided", "withdrawn", "expired"]
M = TypeVar("M", bound=BaseModel)

MAX_BYTES = 8 * 2**20
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_REVIEW = re.compile(rf"({_ID})\.review\.json")


class Asked(BaseModel):
    """What the file of a review holds: it, and what was wrong with the last decision."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    review: PendingReview
    problems: list[str] = []


class Ended(BaseModel):
    """What the file of an answer holds: how the review ended, and when.

    `taken` says that whoever asked has it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    ending: ReviewEnding
    at: datetime
    answer: HumanAnswer | None = None
    taken: bool = False


class Filed(BaseModel):
    """A review as it stands in the folder."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    review: PendingReview
    problems: list[str]
    status: Status
    ended: Ended | None = None


class ReviewFolder:
    """Two files for each review: one its asker writes, one whoever ends it makes, once.

    Both are written whole or not at all. What they hold is data: ids are UUIDs, sizes and
    depths are limited, links are not followed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def ids(self) -> list[str]:
        """Return the ids of all reviews, sorted."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ReviewError(f"{_shown(self.path)} cannot be read ({error.strerror})") from error
        return sorted(found[1] for name in names if (found := _REVIEW.fullmatch(name)))

    def find(self, beginning: str) -> str:
        """Return the one id that begins so; raises `ReviewError` when it is not exactly one."""
        known = [each for each in self.ids() if each.startswith(beginning.lower())]
        if len(known) == 1:
            return known[0]
        said = escape(truncate(beginning, 50))
        if known:
            raise ReviewError(f"{len(known)} reviews have an id that begins with {said}.")
        raise ReviewError(
            f"no review in {_shown(self.path)} has an id that begins with {said}.\n"
            "  stratum review list --all lists them."
        )

    def read(self, review_id: str) -> Filed:
        """Return a review and how it stands; raises `ReviewError` for what is none."""
        asked = _read(self._asked(review_id), Asked)
        if asked.review.id != review_id:
            raise ReviewError(f"{_shown(self._asked(review_id))} holds a review of another id.")
        ended = self.ended(review_id)
        status: Status = "open" if ended is None else ended.ending
        limit = asked.review.expires_at
        if ended is None and limit is not None and _aware(limit) <= datetime.now(UTC):
            status = "expired"
        return Filed(review=asked.review, problems=asked.problems, status=status, ended=ended)

    def ended(self, review_id: str) -> Ended | None:
        """Return how a review ended; None while it is open."""
        path = self._ended(review_id)
        return _read(path, Ended) if os.path.lexists(path) else None

    def publish(self, review: PendingReview) -> None:
        """Write a review; one that is open, or decided and not taken, stays as it is."""
        ended = self.ended(review.id)
        if ended is None and self._asked(review.id).exists():
            return
        if ended is not None and ended.ending == "decided" and not ended.taken:
            return
        self._make_folder()
        self._ended(review.id).unlink(missing_ok=True)
        self._write(self._asked(review.id), Asked(review=review))

    def decide(self, review_id: str, answer: HumanAnswer) -> None:
        """End an open review with an answer; raises `ReviewError` when it ended before."""
        refuse_ended(self.read(review_id))
        self._end(review_id, Ended(ending="decided", at=datetime.now(UTC), answer=answer))

    def reject(self, review_id: str, problems: tuple[str, ...]) -> None:
        """Open a decided review again, and say what was wrong with the decision."""
        asked = _read(self._asked(review_id), Asked)
        self._write(self._asked(review_id), Asked(review=asked.review, problems=list(problems)))
        self._ended(review_id).unlink(missing_ok=True)

    def close(self, review_id: str, ending: ReviewEnding) -> None:
        """End a review for its asker; a decision that was taken is marked so."""
        ended = self.ended(review_id)
        if ended is not None and ending == "decided":
            self._write(self._ended(review_id), ended.model_copy(update={"taken": True}))
        elif ended is None and self._asked(review_id).exists():
            with suppress(ReviewError):  # a person decided just now
                self._end(review_id, Ended(ending=ending, at=datetime.now(UTC), taken=True))

    def _asked(self, review_id: str) -> Path:
        return self.path / f"{_checked(review_id)}.review.json"

    def _ended(self, review_id: str) -> Path:
        return self.path / f"{_checked(review_id)}.answer.json"

    def _make_folder(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignored = self.path / ".gitignore"
            if not ignored.exists():
                ignored.write_text("*\n", encoding="utf-8")
        except OSError as error:
            raise ReviewError(f"{_shown(self.path)} cannot be made ({error.strerror})") from error

    def _write(self, path: Path, value: BaseModel) -> None:
        with _Written(path, value) as temporary:
            os.replace(temporary, path)

    def _end(self, review_id: str, ended: Ended) -> None:
        """Make the answer's file, which only one process can."""
        path = self._ended(review_id)
        with _Written(path, ended) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                refuse_ended(self.read(review_id))
                raise


class _Written:
    """A file beside `path` that holds a value, until the block ends."""

    def __init__(self, path: Path, value: BaseModel) -> None:
        self._temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        self._path = path
        self._content = dump_json(value.model_dump(mode="json")).encode()
        if len(self._content) > MAX_BYTES:
            limit = f"{MAX_BYTES // 2**20} MB"
            raise ReviewError(f"{_shown(path)} would be over {limit}; show the person less.")

    def __enter__(self) -> Path:
        with self._temporary.open("xb") as file:
            file.write(self._content)
            file.flush()
            os.fsync(file.fileno())
        return self._temporary

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self._temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            said = error.strerror or str(error)
            raise ReviewError(f"{_shown(self._path)} cannot be written ({said})") from error


def refuse_ended(filed: Filed) -> None:
    """Raise `ReviewError` for a review that is open no more."""
    if filed.status == "open":
        return
    raise ReviewError(f"review {filed.review.id} {_how(filed)}")


def _how(filed: Filed) -> str:
    answer = filed.ended.answer if filed.ended else None
    match filed.status:
        case "decided" if answer is not None:
            said = escape(truncate(word_of(answer.value), 100))
            by = f" by {escape(answer.reviewer)}" if answer.reviewer else ""
            return f"is already decided: {said}{by}."
        case "withdrawn":
            return "was withdrawn: nobody needs the decision any more."
        case "expired":
            return "has expired: its time was up before anybody decided."
    return f"is {filed.status}."


def _checked(review_id: str) -> str:
    if re.fullmatch(_ID, review_id):
        return review_id
    raise ReviewError(f"{escape(truncate(review_id, 50))} is no review's id, which is a UUID.")


def _read(path: Path, kind: type[M]) -> M:
    """Return what a file holds; raises `ReviewError` with its name for what is none of ours."""
    try:
        return kind.model_validate(parse_json(_text(path)))
    except FileNotFoundError:
        raise ReviewError(f"{_shown(path)} is not there any more.") from None
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        reason = f"{where}: {error.errors()[0]['msg']}"
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    raise ReviewError(f"{_shown(path)} is no review of ours ({escape(truncate(reason, 200))}).")


def _text(path: Path) -> str:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is over {MAX_BYTES // 2**20} MB")
    return content.decode("utf-8")


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _shown(path: Path) -> str:
    return escape(path.as_posix())


def reviews(folder: ReviewFolder) -> Iterator[Filed | ReviewError]:
    """Yield every review of a folder, and the error of each that cannot be read."""
    for review_id in folder.ids():
        try:
            yield folder.read(review_id)
        except ReviewError as error:
            yield error
