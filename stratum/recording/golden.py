"""The golden files: one for each `@infer` function, read and written."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Any

from stratum.calls import Place, Quote, Reply, Request, Site, Usage
from stratum.errors import RecordingCorrupt
from stratum.hashing import digest, short
from stratum.recording.files import (
    dump_json,
    escape_name,
    read_json,
    refuse_links,
    remove_file,
    write_atomic,
)
from stratum.recording.formats import FORMAT, upgraded
from stratum.recording.shapes import check_contract, check_entry, check_instructions, is_source
from stratum.text import escape
from stratum.values import dataclass

ANY = "*"  # among the places of a sample: those that no sample of its key names


@dataclass(eq=False, slots=True)
class Sample:
    """One recorded exchange, and the places that it answers by name.

    An `open` one also answers at places that no sample of its key names, once for each root;
    a `fresh` one was made in this run.
    """

    entry: dict[str, Any]
    home: str
    places: frozenset[str] = frozenset()
    open: bool = False
    fresh: bool = False
    outcome: str = field(init=False, repr=False)
    _reply: Reply | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.outcome = str(self.entry.get("outcome", "answered"))

    @property
    def key(self) -> str:
        return str(self.entry["key"])

    @property
    def attempt(self) -> int:
        return int(self.entry.get("attempt", 0))

    @property
    def turn(self) -> int:
        """The turn of `@refine` that the call belongs to; 0 is the first, and all others."""
        return int(self.entry.get("turn", 0))

    def reply(self) -> Reply:
        if self._reply is None:
            self._reply = self._read()
        return self._reply

    def _read(self) -> Reply:
        entry = self.entry
        tokens = entry.get("tokens", [0, 0])
        return Reply(
            data=entry.get("reply"),
            usage=Usage(tokens[0], tokens[1]),
            model=entry.get("answered_by", ""),
            origin="recorded",
            outcome=entry.get("outcome", "answered"),
            cost=entry.get("cost"),
            wire=entry.get("wire", {}),
        )

    def quote(self) -> Quote:
        """Return the recorded quote; a call that ended before it had one was never sent."""
        if "quote" not in self.entry and self.outcome in ("timeout", "cancelled"):
            return Quote(free=True)
        return Quote(*self.entry.get("quote", (None, None, None)))


@dataclass(slots=True)
class FunctionFile:
    """What is recorded of one function; `format` is that of the file it was read from."""

    function: str
    source: str
    contracts: dict[str, Any] = field(default_factory=dict)
    instructions: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    format: int = FORMAT

    def schema_of(self, sample: Sample) -> Any:
        return self.contracts.get(sample.entry["contract"])

    def instructions_of(self, sample: Sample) -> dict[str, Any]:
        found = self.instructions.get(sample.entry["instructions"], {})
        return found if isinstance(found, dict) else {}


class Recordings:
    """All golden files below a folder, by home and by key; read at the first need.

    A home is the file's path below the folder, with `/`.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.root = root
        self._files: dict[str, FunctionFile] | None = None
        self._by_key: dict[str, list[Sample]] = {}
        self._homes: dict[tuple[str, str], str] = {}

    @property
    def files(self) -> dict[str, FunctionFile]:
        return self._files if self._files is not None else self.read_all()

    def read_all(self) -> dict[str, FunctionFile]:
        """Read the files, once; raises `RecordingCorrupt` for the first that is broken."""
        if self._files is None:
            self._files = {home: read(self.folder, home) for home in homes(self.folder)}
            for file in self._files.values():
                for sample in file.samples:
                    self._by_key.setdefault(sample.key, []).append(sample)
        return self._files

    def of_key(self, key: str, home: str) -> list[Sample]:
        """Return the key's samples, those of the function's own file first."""
        self.read_all()
        samples = self._by_key.get(key, [])
        return samples if len(samples) < 2 else sorted(samples, key=lambda s: s.home != home)

    def only_of_key(self, key: str) -> Sample | None:
        """Return the key's sample when it is the only one."""
        if self._files is None:
            self.read_all()
        samples = self._by_key.get(key, ())
        return samples[0] if len(samples) == 1 else None

    def add(self, sample: Sample) -> None:
        self._by_key.setdefault(sample.key, []).append(sample)

    def home_of(self, site: Site) -> str:
        known = self._homes.get((site.file, site.function))
        if known is None:
            known = self._homes[site.file, site.function] = home_of(site, self.root)
        return known

    def write(self, home: str, file: FunctionFile) -> bool:
        """Write a function's file, or remove it when nothing is left; True when it changed."""
        path = self.folder / PurePosixPath(home)
        refuse_links(path, self.folder)
        return write_atomic(path, text_of(file)) if file.samples else remove_file(path)


def source_of(site: Site, root: Path) -> str:
    """Return the source file below the root with `/`, else `outside/<module>`."""
    try:
        return Path(os.path.abspath(site.file)).relative_to(root).as_posix()
    except ValueError:
        return f"outside/{escape_name(site.module)}"


def home_of(site: Site, root: Path) -> str:
    return f"{source_of(site, root)}/{escape_name(site.function)}.json"


def homes(folder: Path) -> Iterator[str]:
    """Yield the golden files below a folder, sorted, as paths with `/`."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    yield from sorted(home for home in found)


def entry_of(
    request: Request, reply: Reply | None, outcome: str, quote: Quote | None, day: str
) -> dict[str, Any]:
    """Return a call as its golden file holds it; the places are added when it is written."""
    entry: dict[str, Any] = {
        "key": request.key,
        "inputs": request.inputs[:16],
        "contract": short(request.contract.hash),
        "instructions": short(digest(request.instructions)),
    }
    if request.attempt:
        entry["attempt"] = request.attempt
    if outcome != "answered":
        entry["outcome"] = outcome
    if reply is not None:
        entry |= {"reply": reply.data, "tokens": [reply.usage.input, reply.usage.output]}
        entry |= {"cost": reply.cost, "answered_by": reply.model}
        if reply.wire:
            entry["wire"] = dict(reply.wire)
    if quote is not None:
        entry["quote"] = [quote.input_tokens, quote.input_price, quote.output_price]
    return entry | {"recorded_on": day}


def prompt_of(request: Request, *, store_opaque: bool) -> dict[str, Any]:
    """Return how a request's prompt is stored: its lines, or what a retry adds."""
    turn, revision = request.shown.turn, request.shown.revision
    stored: dict[str, Any] = {} if revision is None else {"turn": revision.turn}
    if turn is not None:
        return {**stored, "retry": list(turn.violations)}
    stored["prompt"] = request.shown.lines(store_opaque=store_opaque)
    if revision is not None:
        stored["revision"] = revision.text.split("\n")
    return stored


def text_of(file: FunctionFile) -> str:
    """Return what a golden file holds: the same bytes for the same calls."""
    return dump_json(_as_data(file))


def _as_data(file: FunctionFile) -> dict[str, Any]:
    file.samples.sort(key=_position)
    contracts = {sample.entry["contract"] for sample in file.samples}
    instructions = {sample.entry["instructions"] for sample in file.samples}
    return {
        "format": FORMAT,
        "function": file.function,
        "source": file.source,
        "contracts": _kept(file.contracts, contracts),
        "instructions": _kept(file.instructions, instructions),
        "calls": [_call(sample) for sample in file.samples],
    }


def _kept(known: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return what calls refer to; a name that the file did not explain stays unexplained."""
    return {name: known[name] for name in sorted(names) if name in known}


def _position(sample: Sample) -> tuple[Any, ...]:
    entry = sample.entry
    return (
        entry["inputs"],
        sorted_places(sample.places)[:1],
        sample.turn,
        sample.attempt,
        entry["key"],
        entry.get("outcome", ""),
        digest(entry.get("reply")),
    )


def sorted_places(places: Iterable[str]) -> list[Place]:
    return sorted(Place.parse(place) for place in places)


def _call(sample: Sample) -> dict[str, Any]:
    entry = {name: value for name, value in sample.entry.items() if name != "places"}
    if not sample.places:
        return entry
    places = [ANY] * sample.open + [str(place) for place in sorted_places(sample.places)]
    head = {name: entry.pop(name) for name in ("key", "inputs")}
    return {**head, "places": places, **entry}


def read(folder: Path, home: str) -> FunctionFile:
    """Read one golden file; raises `RecordingCorrupt` for what is none."""
    path = folder / PurePosixPath(home)
    refuse_links(path, folder)
    return read_file(path, home)


def read_file(path: Path, home: str) -> FunctionFile:
    """Read a golden file that lies anywhere; older formats come out as the current one."""
    data = read_json(path)
    try:
        return _function_file(data, path, home)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise RecordingCorrupt(
            f"{escape(path.as_posix())} is no recording of this format "
            f"({type(error).__name__}: {escape(str(error))}).\n"
            "  Restore it from version control, or delete it and record again."
        ) from error


def _function_file(data: Any, path: Path, home: str) -> FunctionFile:
    now = upgraded(data, escape(path.as_posix()))
    file = FunctionFile(now["function"], now["source"], now["contracts"], now["instructions"])
    if not isinstance(file.function, str) or not is_source(file.source):
        raise TypeError("function is a name, and source a path below the root")
    for schema in file.contracts.values():
        check_contract(schema)
    for instructions in file.instructions.values():
        check_instructions(instructions)
    file.samples = [_sample(entry, home) for entry in now["calls"]]
    for sample in the_only_ones(file.samples):
        sample.open = True
    file.format = data["format"]
    return file


def _sample(entry: Any, home: str) -> Sample:
    check_entry(entry)
    named = set(entry.get("places", (ANY,)))
    places = frozenset(str(Place.parse(place)) for place in named - {ANY})
    return Sample(entry, home, places, open=ANY in named)


def the_only_ones(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples that are the only one of their key."""
    by_key: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.outcome != "unsent":
            by_key.setdefault(sample.key, []).append(sample)
    return [group[0] for group in by_key.values() if len(group) == 1]
