"""`stratum review decide`: decide a review."""

import sys
from argparse import Namespace
from typing import Any

from stratum.commands.project import Subcommands
from stratum.commands.review.folder import add_review, folder_of
from stratum.reviews import PendingReview
from stratum.text import escape, truncate


def add(commands: Subcommands) -> None:
    parser = commands.add_parser("decide", help="decide a review")
    add_review(parser)
    parser.add_argument("value", metavar="VALUE", help="the decision: a choice, a text, or JSON")
    parser.add_argument("--comment", help="why")
    parser.add_argument("--reviewer", help="who decides (default: who is logged in)")
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    """File a decision that fits; 1 is one that does not, 2 a review that cannot be decided."""
    from stratum.sinks.console import login
    from stratum.sinks.folder import refuse_ended
    from stratum.sinks.typed import answer_of, word_of

    folder = folder_of(chosen.folder)
    filed = folder.read(folder.find(chosen.review_id))
    refuse_ended(filed)
    answer = answer_of(chosen.value, filed.review)
    problems = _problems(answer.value, filed.review)
    if problems:
        print(f"stratum: {escape(chosen.value)} is no decision of this review:", file=sys.stderr)
        for problem in problems:
            print(f"  {escape(problem)}", file=sys.stderr)
        return 1
    about = {
        "reviewer": chosen.reviewer or login(),
        "comment": chosen.comment or answer.comment,
    }
    folder.decide(filed.review.id, answer.model_copy(update=about))
    print(f"review {filed.review.id} decided: {escape(truncate(word_of(answer.value), 200))}")
    return 0


def _problems(value: Any, review: PendingReview) -> list[str]:
    """Return why a decision does not fit, as far as the schema says; its asker looks again."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    from stratum.sinks.typed import word_of

    choices = review.choices
    if choices is not None and word_of(value) not in map(word_of, choices):
        return [f"choose one of {', '.join(map(word_of, choices))}"]
    empty: Registry[Any] = Registry()  # so that no schema makes us fetch anything
    validator = Draft202012Validator(review.contract, registry=empty)
    try:
        found = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
    except Exception as error:  # of a schema that is none
        return [f"its contract cannot be read: {error}"]
    return [f"{error.json_path.replace('$', 'value', 1)}: {error.message}" for error in found[:10]]
