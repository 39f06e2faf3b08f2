"""A review as a person reads it in a terminal."""

import json
from collections.abc import Iterator
from typing import Any

from stratum.reviews import PendingReview
from stratum.sinks.typed import COMMENT, is_numbered, word_of
from stratum.text import escape, truncate

LONGEST = 20_000  # characters of one value that are shown


def lines_of(review: PendingReview) -> Iterator[str]:
    """Yield a review line by line; what came from outside stands behind a bar, escaped."""
    yield f"review {escape(review.id)} of {escape(review.function)} ({escape(review.source)})"
    yield from _barred(review.question)
    if review.guidance:
        yield from _barred(review.guidance)
    for name, value in review.context.items():
        yield f"  {escape(name)}:"
        yield from _barred(value)
    if review.expires_at is not None:
        yield f"  open until {review.expires_at:%Y-%m-%d %H:%M:%S} UTC"


def ways_to_answer(review: PendingReview) -> Iterator[str]:
    """Yield what may be answered."""
    choices = review.choices
    if choices is None:
        yield f"  an answer of this form: {_form(review.contract)}"
        return
    numbered = is_numbered(choices)
    for number, choice in enumerate(choices, 1):
        yield f"  {f'{number}. ' if numbered else ''}{escape(word_of(choice))}"
    yield f"  (a comment may follow:{COMMENT}because ...)"


def _barred(value: Any) -> Iterator[str]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    for line in truncate(text, LONGEST).split("\n"):
        yield f"    | {escape(line)}".rstrip()


def _form(schema: Any) -> str:
    match schema:
        case {"type": "boolean"}:
            return "yes or no"
        case {"type": "string"}:
            return "any text"
        case {"type": "integer" | "number" as kind}:
            return "a whole number" if kind == "integer" else "a number"
    return truncate(f"JSON for {escape(json.dumps(schema, ensure_ascii=False))}", 2_000)
