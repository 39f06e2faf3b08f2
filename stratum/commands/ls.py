"""`stratum ls`: list what is recorded."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from stratum.commands.project import (
    Subcommands,
    add_folder,
    complain,
    is_recorded,
    line_of,
    many,
    path_of,
    usd,
)
from stratum.settings import Settings, load
from stratum.text import escape

if TYPE_CHECKING:
    from stratum.recording.golden import FunctionFile
    from stratum.recording.listing import FunctionListing, Sums


def add(commands: Subcommands) -> None:
    parser = commands.add_parser("ls", help="list what is recorded, from when and at what cost")
    add_folder(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--calls", action="store_true", help="list each call under its function")
    form.add_argument("--json", action="store_true", help="print it as JSON, calls included")
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    from stratum.recording.listing import FunctionListing, read_each

    settings = load(chosen.folder.resolve())
    if not chosen.json and not is_recorded(settings):
        return 0
    files, faults = read_each(settings.recordings_folder)
    listings = [FunctionListing.of(home, file) for home, file in files.items()]
    if chosen.json:
        _print_json(settings, listings)
        return complain(faults)
    for listing in listings:
        _print_function(listing)
        if chosen.calls:
            _print_calls(listing, files[listing.file])
    _print_total(listings)
    return complain(faults)


def _print_json(settings: Settings, listings: Sequence["FunctionListing"]) -> None:
    from stratum.recording.files import dump_json

    functions = [
        {**asdict(listing), "file": path_of(settings, listing.file)} for listing in listings
    ]
    print(dump_json({"functions": functions}), end="")


def _print_function(listing: "FunctionListing") -> None:
    print(f"function {escape(listing.function)} ({escape(listing.source)})")
    print(f"  {_summed(listing.sums)}")
    if listing.sums.models:
        print(f"  answered by {escape(', '.join(listing.sums.models))}")


def _print_calls(listing: "FunctionListing", file: "FunctionFile") -> None:
    from stratum.recording.listing import Found

    for call, sample in zip(listing.calls, file.samples, strict=True):
        print(f"    {line_of(call, Found(listing.file, file, sample).inputs())}")


def _print_total(listings: Sequence["FunctionListing"]) -> None:
    from stratum.recording.listing import Sums

    total = Sums.of(call for listing in listings for call in listing.calls)
    print(f"{many(len(listings), 'function')}: {_summed(total)}")


def _summed(sums: "Sums") -> str:
    days = dict.fromkeys(filter(None, (sums.first_day, sums.last_day)))
    told = [
        many(sums.calls, "call"),
        " to ".join(days),
        f"{sums.input_tokens:,} + {sums.output_tokens:,} tokens",
        usd(sums.cost),
        f"{sums.unpriced:,} of unknown cost" if sums.unpriced else "",
        f"{sums.edited:,} edited by hand" if sums.edited else "",
    ]
    return escape(", ".join(filter(None, told)))
