"""Read what a person typed as the data that a review asks for."""

import json
from collections.abc import Sequence
from typing import Any

from stratum.hashing import canonical
from stratum.reviews import HumanAnswer, PendingReview
from stratum.schemas import Schema, definitions, resolved

COMMENT = " # "
_WORDS = {"yes": True, "y": True, "true": True, "no": False, "n": False, "false": False}


def answer_of(text: str, review: PendingReview) -> HumanAnswer:
    """Return a typed line as an answer.

    Where there are choices, ` # ` begins a comment, and a number stands for the choice that
    has it in the list, unless the choices are numbers themselves.

    >>> review = PendingReview(id="1", question="Send?", options=["approve", "reject"])
    >>> answer_of("2 # too much", review)
    HumanAnswer(value='reject', reviewer=None, comment='too much')
    """
    text = text.strip()
    choices = review.choices
    if choices is None:
        return HumanAnswer(value=data_of(text, review.contract))
    said, _, comment = text.partition(COMMENT)
    if any(word_of(choice) == text for choice in choices):
        said, comment = text, ""
    value = _chosen(said.strip(), choices)
    return HumanAnswer(value=value, comment=comment.strip() or None)


def word_of(choice: Any) -> str:
    """Return how a choice is written: a text as it is, anything else as JSON."""
    return choice if isinstance(choice, str) else canonical(choice)


def is_numbered(choices: Sequence[Any]) -> bool:
    """Say whether a number can stand for a choice."""
    return not any(word_of(choice).lstrip("-").isdigit() for choice in choices)


def _chosen(said: str, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if word_of(choice) == said:
            return choice
    if is_numbered(choices) and said.isdigit() and 0 < int(said[:9]) <= len(choices):
        return choices[int(said) - 1]
    close = [choice for choice in choices if word_of(choice).casefold() == said.casefold()]
    return close[0] if len(close) == 1 else _parsed(said)


def data_of(text: str, schema: Schema) -> Any:
    """Return a typed text as data: the text where the contract takes texts, else its JSON.

    >>> data_of("true", {"type": "string"}), data_of("yes", {"type": "boolean"}), data_of("3", {})
    ('true', True, 3)
    """
    kinds = _kinds(schema, definitions(schema))
    if "boolean" in kinds and text.casefold() in _WORDS:
        return _WORDS[text.casefold()]
    if kinds == {"string"}:
        return text
    return _parsed(text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _kinds(node: Any, known: Any) -> set[str]:
    """Return the JSON types that the root of a schema takes; `any` when it does not say."""
    node = resolved(node, known)
    if not isinstance(node, dict):
        return {"any"}
    arms = node.get("anyOf") or node.get("oneOf")
    if isinstance(arms, list):
        return set().union(*(_kinds(arm, known) for arm in arms))
    return {str(node.get("type", "any"))}
