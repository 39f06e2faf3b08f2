"""What is recorded, and what this run used of it or added to it."""

import threading
from collections.abc import Callable
from dataclasses import field
from typing import Any

from stratum.calls import Exchange, Quote, Reply, Request
from stratum.errors import RecordingError
from stratum.recording.ages import is_stale, oldest_day, today
from stratum.recording.golden import FunctionFile, Recordings, Sample, entry_of, prompt_of
from stratum.recording.renewing import Asked, Use, renewed, spot
from stratum.roots import Root
from stratum.settings import Settings
from stratum.text import escape
from stratum.values import dataclass


@dataclass(slots=True)
class Counts:
    """How many calls were answered from where, and what they cost in US dollars.

    `stale` counts those of the replayed that are older than `max_age`.
    """

    replayed: int = 0
    cached: int = 0
    recorded: int = 0
    spent: float = 0.0
    saved: float = 0.0
    unpriced: int = 0
    stale: int = 0


@dataclass(eq=False)
class GoldenStore:
    """The recordings of a project during one run (SPEC 4).

    A key has at most one answer at a place. The sample that names the place answers there;
    at a place that none names, the key's only sample does, once for each root; a call that
    neither answers is asked, and its sample names the place. So no answer depends on the
    order of tests or tasks: what a place gave once in a run it gives to every root.

    `reuse` says whether what is in the files may answer; without it every call is asked
    anew. Nothing is written before `write`; `unwritten` then says which files could not be.
    """

    settings: Settings
    reuse: bool = True
    counts: Counts = field(default_factory=Counts)
    committed: list[Use] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)
    unwritten: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = self.settings
        self.recordings: Recordings = Recordings(settings.recordings_folder, settings.root)
        self._given: dict[tuple[str, str, str], Sample] = {}
        self._meetings: dict[Root, list[tuple[Request, Sample]]] = {}
        self._passed: set[Root] = set()
        self._met: set[tuple[Root, str, str]] = set()
        self._lock = threading.Lock()
        self.oldest: str | None = oldest_day(self.settings)

    def is_stale(self, sample: Sample) -> bool:
        """Say whether a recorded call is older than `max_age`."""
        return is_stale(sample, self.oldest)

    def find(
        self,
        request: Request,
        root: Root,
        holds: Callable[[Sample], bool] = lambda _: True,
        *,
        ordered: bool = False,
    ) -> Sample | None:
        """Return the sample that answers a request in a record run, and note its use.

        What this run gave or recorded at the place comes first, so that every root meets
        the same answer there in whatever order the tests run. What is stale does not answer.
        Where replies are `ordered`, a call that was cancelled is to be cancelled again.
        """
        ends = ("timeout", "cancelled", "answered") if ordered else ("timeout", "answered")
        with self._lock:
            given = [self._given.get(_slot(request, end)) for end in ends]
            here = [sample for sample in given if sample is not None]
            sample = self._answering(
                request, root, lambda s: holds(s) and not self.is_stale(s), here, ordered
            )
            if sample is not None:
                self._given.setdefault(_slot(request, sample.outcome), sample)
                self._use(request, root, sample)
            return sample

    def recorded(
        self,
        request: Request,
        root: Root,
        holds: Callable[[Sample], bool] = lambda _: True,
        *,
        ordered: bool = False,
    ) -> Sample | None:
        """Return the sample that answers a request in replay, and note its use."""
        with self._lock:
            sample = self.recordings.only_of_key(request.key) if self.reuse else None
            if sample is None:
                sample = self._answering(request, root, holds, [], ordered)
            elif not (_answers(sample, request, root) and holds(sample)):
                return None
            if sample is not None:
                self._hand_out(sample, root)
            return sample

    def count_replayed(self, sample: Sample, reply: Reply) -> None:
        """Count a recorded answer, and what it saved."""
        is_old = self.oldest is not None and self.is_stale(sample)
        with self._lock:
            self.counts.replayed += 1
            self.counts.saved += reply.cost or 0.0
            self.counts.stale += is_old

    def _answering(
        self,
        request: Request,
        root: Root,
        holds: Callable[[Sample], bool],
        here: list[Sample],
        ordered: bool,
    ) -> Sample | None:
        home, place = self.recordings.home_of(request.site), spot(request)
        old = self.recordings.of_key(request.key, home) if self.reuse else []
        fitting = [s for s in old if s.outcome != "unsent" and holds(s)]
        here = [s for s in here if holds(s)] + [s for s in fitting if place in s.places]
        rank = _cancelled_first if ordered else _precedence
        here = sorted(here, key=rank)
        if request.place is None:
            return min([*here, *fitting], key=rank, default=None)
        own = [s for s in fitting if s.open and s.home == fitting[0].home]
        free = [s for s in own if id(s) not in root.handed]
        return min([*here, *free], key=lambda s: s.outcome != "timeout", default=None)

    def _hand_out(self, sample: Sample, root: Root) -> None:
        root.handed.add(id(sample))
        self.touched.add(id(sample))

    def _use(self, request: Request, root: Root, sample: Sample) -> None:
        self._hand_out(sample, root)
        self._met.add((root, request.key, spot(request)))
        self._meetings.setdefault(root, []).append((request, sample))

    def give_back(self, request: Request, root: Root, sample: Sample) -> None:
        """Undo the use of a sample that did not end the call after all."""
        with self._lock:
            root.handed.discard(id(sample))
            self._met.discard((root, request.key, spot(request)))
            if root in self._meetings:
                self._meetings[root].remove((request, sample))

    def is_used(self, request: Request, root: Root) -> bool:
        """Say whether the root was answered, or turned away, at the request's place."""
        return (root, request.key, spot(request)) in self._met

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
        known = self._given.get((request.key, "", "unsent"))
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
        entry = entry_of(request, exchange.reply, exchange.outcome, exchange.quote, today())
        if exchange.expired is not None:
            entry |= {"expired": exchange.expired, "ms": exchange.ms}
        if exchange.outcome == "cut" and exchange.cap is not None:
            entry["cap"] = exchange.cap
        entry |= prompt_of(request, store_opaque=self.settings.store_opaque)
        sample = Sample(entry, self.recordings.home_of(request.site), fresh=True)
        slot = _slot(request, exchange.outcome)
        with self._lock:
            if exchange.outcome == "cancelled":  # once for all roots: it says nothing else
                sample = self._given.get(slot, sample)
            self._given[slot] = sample
            self._use(request, root, sample)
        return sample

    def adopt(self, request: Request, entry: dict[str, Any], root: Root) -> Sample:
        """Take over what another process of this run recorded, or another task of this one."""
        sample = Sample(entry, self.recordings.home_of(request.site), fresh=True)
        with self._lock:
            sample = self._given.setdefault(_slot(request, sample.outcome), sample)
            self._use(request, root, sample)
        return sample

    def given(self, request: Request) -> Sample:
        """Return what this run recorded as the request's answer."""
        return self._given[_slot(request, "answered")]

    def unanswered(self, request: Request, *, ordered: bool) -> Sample | None:
        """Return what this run recorded of the request's getting no answer.

        That it was cancelled says something only where replies are `ordered`.
        """
        late = self._given.get(_slot(request, "timeout"))
        return late or (self._given.get(_slot(request, "cancelled")) if ordered else None)

    def is_answered(self, request: Request) -> bool:
        """Say whether an answer is recorded at the request's place."""
        samples = self.recordings.of_key(request.key, self.recordings.home_of(request.site))
        answered = (sample for sample in samples if sample.outcome not in _UNANSWERED)
        return any(request.place is None or spot(request) in s.places for s in answered)

    def used(self) -> dict[str, list[int]]:
        """Return the positions, in the files by home, of all that a replay used."""
        return {
            home: [at for at, sample in enumerate(file.samples) if id(sample) in self.touched]
            for home, file in self.recordings.files.items()
        }

    def passed(self, root: Root) -> list[Use]:
        """Say that a root's exchanges may be written; returns those that are new."""
        self._passed.add(root)
        new = self._meetings.pop(root, [])
        uses = [self._use_of(root, request, sample) for request, sample in new]
        self.committed += uses
        return uses

    def late(self) -> list[Root]:
        """Return the roots that met more after they had passed: a cancelled thread ends late."""
        return [root for root in self._meetings if root in self._passed]

    def _use_of(self, root: Root, request: Request, sample: Sample) -> Use:
        return Use(id(root), Asked.of(request, self.recordings.home_of(request.site)), sample)

    def write(self, *, complete: bool, prune: bool = False) -> list[str]:
        """Write what belongs to passed roots; returns the homes of the files that changed.

        After a complete run places are exactly those used, and outdated entries go; pruning
        also removes all that the run did not use.
        """
        by_home: dict[str, list[Use]] = {}
        for use in self.committed:
            by_home.setdefault(use.asked.home, []).append(use)
        files = {
            home: renewed(self.recordings.files.get(home), home, uses, complete, prune=prune)
            for home, uses in by_home.items()
        }
        if complete and prune:
            unused = self.recordings.files.keys() - by_home.keys()
            files |= {home: FunctionFile("", "") for home in unused}
        return [home for home in sorted(files) if self._write(home, files[home])]

    def _write(self, home: str, file: FunctionFile) -> bool:
        """Write a file; one that cannot be written keeps no other from it."""
        try:
            return self.recordings.write(home, file)
        except RecordingError as error:
            self.unwritten.append(f"{escape(home)}: its calls are not in golden/ yet. {error}")
            return False


def _answers(sample: Sample, request: Request, root: Root) -> bool:
    """Say whether a key's only sample answers a request in replay; `_answering` for many."""
    if sample.outcome == "unsent":
        return False
    if request.place is None or (sample.open and id(sample) not in root.handed):
        return True
    return spot(request) in sample.places


def _slot(request: Request, outcome: str) -> tuple[str, str, str]:
    """Return where this run finds what became of a request; one turned away has no place."""
    match outcome:
        case "unsent":
            return request.key, "", outcome
        case "timeout" | "cancelled":
            return request.key, spot(request), outcome
    return request.key, spot(request), "answered"


_UNANSWERED = ("timeout", "cancelled", "unsent")


def _cancelled_first(sample: Sample) -> int:
    return {"timeout": 0, "cancelled": 1}.get(sample.outcome, 2)


def _precedence(sample: Sample) -> int:
    return {"timeout": 0, "cancelled": 2}.get(sample.outcome, 1)
