"""`stratum show`: show one recorded call in full."""

import json
import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from stratum.commands.project import Subcommands, add_folder, complain, line_of, path_of, usd
from stratum.errors import RecordingMissing
from stratum.settings import Settings, load
from stratum.text import escape

if TYPE_CHECKING:
    from stratum.calls import Quote
    from stratum.recording.listing import CallListing, Found

_PREFIX = re.compile(r"[0-9a-fA-F]{4,64}")


def add(commands: Subcommands) -> None:
    parser = commands.add_parser("show", help="show one recorded call in full")
    parser.add_argument(
        "call", type=_prefix, metavar="CALL", help="how its key begins: 4 hex digits or more"
    )
    add_folder(parser)
    parser.set_defaults(run=run)


def _prefix(text: str) -> str:
    if _PREFIX.fullmatch(text):
        return text
    raise ArgumentTypeError(
        f"{text!r} is no beginning of a key: give 4 hex digits or more, as stratum ls --calls does"
    )


def run(chosen: Namespace) -> int:
    """Print the call, all samples of its key; list the calls when they have several keys."""
    from stratum.recording.listing import find, read_each

    settings = load(chosen.folder.resolve())
    files, faults = read_each(settings.recordings_folder)
    found = list(find(files, chosen.call))
    if not found:
        complain(faults)
        raise RecordingMissing(
            f"no recorded call has a key that begins with {chosen.call}.\n"
            "  stratum ls --calls lists the keys; pytest --stratum-record records what is missing."
        )
    if len({each.sample.key for each in found}) > 1:
        _print_matches(chosen.call, found)
        return complain(faults) or 1
    print("\n\n".join("\n".join(_shown(each, settings)) for each in found))
    return complain(faults)


def _print_matches(prefix: str, found: Iterable["Found"]) -> None:
    from stratum.recording.listing import CallListing

    print(f"several calls have a key that begins with {prefix}; give more digits:")
    for each in found:
        line = line_of(CallListing.of(each.sample), each.inputs())
        print(f"  {line} ({escape(each.file.function)})")


def _shown(found: "Found", settings: Settings) -> Iterator[str]:
    from stratum.recording.listing import CallListing

    entry, file = found.sample.entry, found.file
    yield f"call {escape(found.sample.key)}"
    for name, text in _facts(found, CallListing.of(found.sample), settings):
        yield f"  {name:<12} {escape(text)}"
    yield from _block("prompt", _prompt(found))
    yield from _block("reply", _data(entry["reply"]) if "reply" in entry else ["(no reply)"])
    yield from _block(
        f"instructions {entry['instructions']}", _data(file.instructions_of(found.sample))
    )
    yield from _block(f"contract {entry['contract']}", _data(file.schema_of(found.sample)))


def _facts(found: "Found", call: "CallListing", settings: Settings) -> Iterator[tuple[str, str]]:
    entry = found.sample.entry
    yield "function", f"{found.file.function} ({found.file.source})"
    yield "file", path_of(settings, found.home)
    yield "inputs", found.sample.entry["inputs"]
    yield "places", ", ".join(call.places).replace("*", "any that no other call of its key names")
    yield "attempt", f"{call.attempt + 1}{' (a retry)' * bool(call.attempt)}"
    yield "outcome", call.outcome
    yield "recorded on", call.recorded_on or "unknown"
    yield "answered by", call.answered_by or "nobody"
    yield "tokens", f"{call.input_tokens:,} in, {call.output_tokens:,} out"
    yield "cost", "unknown" if call.cost is None else usd(call.cost)
    yield "quote", _quoted(found.sample.quote()) if "quote" in entry else "none"
    for name in ("wire", "expired", "ms", "cap"):
        if name in entry:
            yield name, json.dumps(entry[name], ensure_ascii=False)
    yield "edited", "by hand" if call.edited else "no"


def _quoted(quote: "Quote") -> str:
    tokens = "unknown" if quote.input_tokens is None else f"{quote.input_tokens:,}"
    prices = (quote.input_price, quote.output_price)
    taken, given = ("unknown" if price is None else f"${price:g}" for price in prices)
    return f"{tokens} input tokens; per million tokens {taken} in, {given} out"


def _prompt(found: "Found") -> list[str]:
    lines = found.prompt()
    if lines is not None:
        return lines
    if "retry" in found.sample.entry:
        return ["(the first attempt is not in this file)", "", *found.turn()]
    return ["(not recorded)"]


def _data(value: Any) -> list[str]:
    return json.dumps(value, indent=1, ensure_ascii=False).split("\n")


def _block(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield recorded lines behind a bar, so that none of them begins a line of ours."""
    yield f"  {escape(title)}"
    yield from (f"    | {escape(line)}".rstrip() for line in lines)
