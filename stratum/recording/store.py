"""What is recorded, and what this run used of it or added to it."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from stratum.calls import Exchange, Quote, Request
from stratum.hashing import digest, short
from stratum.recording.golden import FunctionFile, Recordings, Sample, entry_of, prompt_of
from stratum.scope import Root
from stratum.settings import Settings


@dataclass(frozen=True, slots=True)
class Use:
    """A root met a sample at a request."""

    root: Root
    request: Request
    sample: Sample


@dataclass(slots=True)
class Counts:
    """How many calls were answered from where, and what they cost in US dollars."""

    replayed: int = 0
    cached: int = 0
    recorded: int = 0
    spent: float = 0.0
    saved: float = 0.0
    unpriced: int = 0


@dataclass(eq=False)
class GoldenStore:
    """The recordings of a project during one run (SPEC 4).

    `reuse` says whether what is in the files may answer; without it every call is asked
    anew. Nothing is written before `write`.
    """

    settings: Settings
    reuse: bool = True
    counts: Counts = field(default_factory=Counts)
    uses: list[Use] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recordings = Recordings(self.settings.recordings_folder, self.settings.root)
        self._new: dict[tuple[str, str, str], Sample] = {}
        self._passed: set[Root] = set()
        self._met: set[tuple[Root, str, str]] = set()
        self._lock = threading.Lock()

    def find(
        self, request: Request, root: Root, holds: Callable[[Sample], bool] = lambda _: True
    ) -> Sample | None:
        """Return the sample that answers a request at its place, and note its use.

        The first sample of the key that lists the place and was not handed out in this root;
        else the only sample of the key, once for each root; else what this run recorded at
        the place. `holds` says of one without a whole answer whether that still stands; a
        timeout that does comes before an answer, which is of a caller with more time.
        """
        home = self.recordings.home_of(request.site)
        with self._lock:
            sample = self._old(request, root, home, holds) if self.reuse else None
            sample = sample or self._recorded_now(request, holds)
            if sample is not None:
                self._use(request, root, sample)
            return sample

    def _old(
        self, request: Request, root: Root, home: str, holds: Callable[[Sample], bool]
    ) -> Sample | None:
        samples = [s for s in self.recordings.of_key(request.key, home) if s.outcome != "unsent"]
        fitting = sorted((s for s in samples if holds(s)), key=_precedence)
        if not fitting or request.place is None:
            return fitting[0] if fitting else None
        place = str(request.place)
        for sample in fitting:
            anywhere = sample.outcome == "timeout" and not sample.places
            if (anywhere or place in sample.places) and id(sample) not in root.handed:
                return sample
        if len(samples) == 1 and id(samples[0]) not in root.handed:
            return samples[0]
        return None

    def _recorded_now(self, request: Request, holds: Callable[[Sample], bool]) -> Sample | None:
        for outcome in ("timeout", "answered"):
            sample = self._new.get((request.key, _spot(request), outcome))
            if sample is not None and holds(sample):
                return sample
        return None

    def _use(self, request: Request, root: Root, sample: Sample) -> None:
        root.handed.add(id(sample))
        self._met.add((root, request.key, _spot(request)))
        self.uses.append(Use(root, request, sample))

    def give_back(self, request: Request, root: Root, sample: Sample) -> None:
        """Undo the use of a sample that did not end the call after all."""
        with self._lock:
            root.handed.discard(id(sample))
            self._met.discard((root, request.key, _spot(request)))
            self.uses.remove(Use(root, request, sample))

    def is_used(self, request: Request, root: Root) -> bool:
        """Say whether the root was answered, or turned away, at the request's place."""
        return (root, request.key, _spot(request)) in self._met

    def quoted(self, request: Request) -> Sample | None:
        """Return a sample of the request's key that holds a quote; takes none."""
        home = self.recordings.home_of(request.site)
        samples = self.recordings.of_key(request.key, home) if self.reuse else []
        for sample in sorted(samples, key=lambda s: "quote" not in s.entry):
            if "quote" in sample.entry or sample.outcome in ("timeout", "cancelled"):
                return sample
        return None

    def turned_away(self, request: Request, quote: Quote | None, root: Root) -> None:
        """Keep the quote of a call that was not sent, once for each key."""
        home = self.recordings.home_of(request.site)
        known = self._new.get((request.key, "", "unsent"))
        if self.reuse:
            old = (s for s in self.recordings.of_key(request.key, home) if s.outcome == "unsent")
            known = known or next(old, None)
        if known is not None:
            with self._lock:
                self._use(request, root, known)
        elif quote is not None:
            self.add(Exchange(request, None, "unsent", quote), root)

    def add(self, exchange: Exchange, root: Root) -> Sample:
        """Take up an exchange of this run, for all roots that come to its place."""
        request = exchange.request
        day = datetime.now(UTC).date().isoformat()
        entry = entry_of(request, exchange.reply, exchange.outcome, exchange.quote, day)
        if exchange.expired is not None:
            entry |= {"expired": exchange.expired, "ms": exchange.ms}
        if exchange.outcome == "cut" and exchange.cap is not None:
            entry["cap"] = exchange.cap
        entry |= prompt_of(request, store_opaque=self.settings.store_opaque)
        sample = Sample(entry, self.recordings.home_of(request.site), frozenset(), fresh=True)
        with self._lock:
            self._new[_slot(request, exchange.outcome)] = sample
            self._use(request, root, sample)
        return sample

    def passed(self, root: Root) -> None:
        """Say that a root's exchanges may be written."""
        self._passed.add(root)

    def write(self, *, complete: bool) -> list[str]:
        """Write what belongs to passed roots; returns the homes of the files that changed.

        After a complete run places are exactly those used, and outdated entries go.
        """
        committed = [use for use in self.uses if use.root in self._passed]
        by_home: dict[str, list[Use]] = {}
        for use in committed:
            by_home.setdefault(self.recordings.home_of(use.request.site), []).append(use)
        changed = []
        for home, uses in sorted(by_home.items()):
            file = self._merged(home, uses, complete=complete)
            if self.recordings.write(home, file):
                changed.append(home)
        return changed

    def _merged(self, home: str, uses: list[Use], *, complete: bool) -> FunctionFile:
        old = self.recordings.files.get(home)
        site = uses[-1].request.site
        source = home.rpartition("/")[0]
        file = FunctionFile(site.function, source)
        if old is not None:
            file.contracts, file.instructions = dict(old.contracts), dict(old.instructions)
        used = _samples_used(uses, home)
        kept = [s for s in (old.samples if old else ()) if not any(s is u.sample for u in used)]
        fresh = [use for use in used if use.sample.fresh]
        current = {_instructions(use.request) for use in used}
        file.samples = [
            sample
            for sample in kept
            if not _is_replaced(sample, fresh, old, complete=complete)
            and not (complete and sample.entry["instructions"] not in current)
            and not (complete and _outdated(sample, used))
        ]
        for use in used:
            file.contracts[short(use.request.contract.hash)] = use.request.contract.schema
            file.instructions[_instructions(use.request)] = use.request.instructions
            places = use.sample.used if complete else use.sample.used | use.sample.places
            entry = {**use.sample.entry, "instructions": _instructions(use.request)}
            file.samples.append(Sample(entry, home, frozenset(places)))
        answered = {sample.key for sample in file.samples if sample.outcome != "unsent"}
        file.samples = [s for s in file.samples if s.outcome != "unsent" or s.key not in answered]
        return file


def _spot(request: Request) -> str:
    return "-" if request.place is None else str(request.place)


def _slot(request: Request, outcome: str) -> tuple[str, str, str]:
    """Return where this run finds what became of a request; one turned away has no place."""
    match outcome:
        case "unsent":
            return request.key, "", outcome
        case "timeout" | "cancelled":
            return request.key, _spot(request), outcome
    return request.key, _spot(request), "answered"


def _precedence(sample: Sample) -> int:
    return {"timeout": 0, "cancelled": 2}.get(sample.outcome, 1)


def _instructions(request: Request) -> str:
    return short(digest(request.instructions))


def _samples_used(uses: Iterable[Use], home: str) -> list[Use]:
    """Return one use of each sample, its places gathered; one from elsewhere is copied home."""
    gathered: dict[int, Use] = {}
    for use in uses:
        known = gathered.get(id(use.sample))
        if known is None:
            known = gathered[id(use.sample)] = use
            use.sample.used = set()
        if use.request.place is not None:
            use.sample.used.add(str(use.request.place))
        gathered[id(use.sample)] = replace(known, request=use.request)
    return list(gathered.values())


def _is_replaced(
    sample: Sample, fresh: Iterable[Use], old: FunctionFile | None, *, complete: bool
) -> bool:
    """Say whether a call that was asked anew takes the place of this entry.

    A timeout and an answer of one key may belong to tests with different limits: after a
    partial run both stay.
    """
    return any(
        (complete or not _differ_in_time(sample, use.sample))
        and sample.entry["inputs"] == use.sample.entry["inputs"]
        and sample.attempt >= use.request.attempt
        and (not sample.places or str(use.request.place) in sample.places)
        and old is not None
        and _settings_of(old.instructions_of(sample)) == _settings_of(use.request.instructions)
        for use in fresh
    )


def _differ_in_time(one: Sample, other: Sample) -> bool:
    return one.key == other.key and (one.outcome == "timeout") != (other.outcome == "timeout")


def _settings_of(instructions: dict[str, Any]) -> tuple[Any, Any]:
    return instructions.get("model"), instructions.get("params")


def _outdated(sample: Sample, used: Iterable[Use]) -> bool:
    contracts = {short(use.request.contract.hash) for use in used}
    return sample.entry["contract"] not in contracts
