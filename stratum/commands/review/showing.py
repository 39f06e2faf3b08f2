"""`stratum review show`: one review as the person sees it."""

from argparse import Namespace

from stratum.commands.project import Subcommands
from stratum.commands.review.folder import add_review, folder_of
from stratum.text import escape


def add(commands: Subcommands) -> None:
    parser = commands.add_parser("show", help="show one review in full")
    add_review(parser)
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    from stratum.sinks.shown import lines_of, ways_to_answer
    from stratum.sinks.typed import word_of

    folder = folder_of(chosen.folder)
    filed = folder.read(folder.find(chosen.review_id))
    print(*lines_of(filed.review), *ways_to_answer(filed.review), sep="\n")
    for problem in filed.problems:
        print(f"  the last decision did not fit: {escape(problem)}")
    print(f"  status: {filed.status}")
    answer = filed.ended.answer if filed.ended else None
    if answer is not None:
        print(f"  decision: {escape(word_of(answer.value))}")
        print(f"  reviewer: {escape(answer.reviewer or 'unknown')}")
        print(f"  comment: {escape(answer.comment or 'none')}")
    return 0
