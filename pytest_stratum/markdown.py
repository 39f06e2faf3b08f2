"""Write what a run came to as Markdown, in which nothing recorded is markup."""

import re
from collections.abc import Iterable, Iterator

from pytest_stratum.report import SHOWN_FUNCTIONS, SHOWN_LINES, SHOWN_TESTS, many, usd
from pytest_stratum.run_report import DriftBlock, RunReport
from stratum.text import escape

_TICKS = re.compile("`+")


def markdown(run: RunReport, limit: int | None = None) -> str:
    """Return a page about the run; of at most `limit` bytes, with a word on what is left out."""
    page = "\n".join(_head(run))
    for number, block in enumerate(run.drift):
        section = "\n".join(["", "", *_section(block)])
        if limit is not None and len((page + section).encode()) > limit:
            left = many(len(run.drift) - number, "more cause")
            return f"{page}\n\n… and {left} of drift.\n"
        page += section
    return page + "\n"


def code(text: str) -> str:
    """Return a text of one line as it stands, whatever it holds.

    >>> print(code("<b>"), code("a `b`"))
    `<b>` `` a `b` ``
    """
    text = escape(text)
    if not text.strip():
        return "(empty)"
    marks = _longer(text, 1)
    space = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{marks}{space}{text}{space}{marks}"


def fenced(lines: Iterable[str], language: str = "") -> list[str]:
    """Return lines as a block of code."""
    lines = [escape(line) for line in lines]
    marks = _longer("\n".join(lines), 3)
    return [f"{marks}{language}", *lines, marks]


def _longer(text: str, least: int) -> str:
    """Return more backticks than the text has anywhere in a row."""
    longest = max(map(len, _TICKS.findall(text)), default=0)
    return "`" * max(least, longest + 1)


def _head(run: RunReport) -> Iterator[str]:
    yield f"## Stratum: {_verdict(run)}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, told in _rows(run):
        yield f"| {name} | {told} |"
    if run.errors:
        yield from ("", "### errors", "")
        yield from fenced(line for error in run.errors for line in error.split("\n"))
    if run.recordings.written:
        yield from ("", "### written", "")
        yield from (f"- {code(path)}" for path in run.recordings.written)


def _verdict(run: RunReport) -> str:
    if run.drift:
        return f"{many(len(run.drift), 'cause')} of drift, {many(run.tests, 'test')}"
    return "errors" if run.errors else "no drift"


def _rows(run: RunReport) -> Iterator[tuple[str, str]]:
    calls, money, kept = run.calls, run.money, run.recordings
    yield "mode", run.mode or "none"
    yield "replayed", f"{many(calls.replayed, 'call')}, {usd(money.saved_usd)} saved"
    if calls.recorded or calls.cached or run.mode != "replay":
        unpriced = f", {money.unpriced} of unknown price" if money.unpriced else ""
        yield "recorded", f"{many(calls.recorded, 'call')}, {usd(money.spent_usd)}{unpriced}"
    if calls.cached:
        yield "taken from the cache", many(calls.cached, "call")
    if calls.live:
        yield "live, kept nowhere", f"{many(calls.live, 'call')}, {usd(money.live_usd)}"
    if kept.stale:
        yield "stale", many(kept.stale, "replayed call")
    if kept.orphaned:
        yield "not used", f"{many(kept.orphaned, 'recorded call')}, {kept.outdated} outdated"


def _section(block: DriftBlock) -> Iterator[str]:
    yield f"### {block.kind} drift in {code(block.function)}"
    yield ""
    yield f"{code(f'{block.file}:{block.line}')} · {many(len(block.tests), 'test')}"
    yield ""
    yield code(block.title)
    if block.lines:
        yield ""
        yield from fenced(_first(block.lines, SHOWN_LINES, "more lines"), "diff")
    if block.also:
        yield from ("", "Also in:", "")
        yield from (f"- {code(str(each))}" for each in block.also[:SHOWN_FUNCTIONS])
        if len(block.also) > SHOWN_FUNCTIONS:
            yield f"- … and {len(block.also) - SHOWN_FUNCTIONS} more"
    yield from ("", "Breaks:", "")
    yield from (f"- {code(nodeid)}" for nodeid in block.tests[:SHOWN_TESTS])
    if len(block.tests) > SHOWN_TESTS:
        yield f"- … and {len(block.tests) - SHOWN_TESTS} more"
    yield from ("", "Accept:", "")
    yield from fenced([block.accept], "sh")


def _first(lines: tuple[str, ...], most: int, noun: str) -> list[str]:
    left = len(lines) - most
    return [*lines[:most], *([f"… and {left} {noun}"] if left > 0 else [])]
