"""Join two versions of a golden file that grew from a common one."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from stratum.errors import RecordingError
from stratum.hashing import canonical
from stratum.recording.golden import FunctionFile, Sample
from stratum.recording.listing import is_edited

Entry: TypeAlias = dict[str, Any]
Spot: TypeAlias = tuple[str, int]  # a place, "" for any; and how many samples list it before
Spots: TypeAlias = dict[Spot, Sample]

ANY: Spot = ("", 0)
_ANSWER = ("outcome", "reply", "expired", "ms", "cap")
_WITH_THE_ANSWER = {*_ANSWER, "tokens", "cost", "answered_by", "wire", "recorded_on", "edited"}


@dataclass(frozen=True, slots=True)
class Conflict:
    """A key and place ("" for any) of which a person has to say what holds; None is removed."""

    key: str
    place: str
    ours: Sample | None
    theirs: Sample | None


@dataclass(frozen=True, slots=True)
class Joined:
    """What two sides come to; `file` is to be written when there is no conflict."""

    file: FunctionFile
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class Three:
    """What stands at one spot in the common version and on both sides; one side has something."""

    base: Sample | None
    ours: Sample | None
    theirs: Sample | None

    @property
    def present(self) -> list[Sample]:
        return [side for side in (self.ours, self.theirs) if side is not None]

    @property
    def is_undecided(self) -> bool:
        """Say whether both sides changed the answer, each in its way; removing is one."""
        answers = {_answer(side) for side in self.present}
        if len(self.present) == 2:
            return len(answers) == 2 and not (self.base and _answer(self.base) in answers)
        return self.base is not None and _answer(self.base) not in answers

    def joined(self) -> Entry | None:
        """Return what holds when it is decided; None is a removed call."""
        if self.ours is None or self.theirs is None:
            return None if self.base else _entry(self.present[0])
        answer, rest = self._answering(self.ours, self.theirs), self._later(_rest)
        entry = _entry(answer)
        if _rest(rest) == _rest(answer):
            return entry
        kept = {name: value for name, value in entry.items() if name in _WITH_THE_ANSWER}
        other = {name: v for name, v in _entry(rest).items() if name not in _WITH_THE_ANSWER}
        order = dict.fromkeys([*entry, *other])
        return {name: (kept | other)[name] for name in order if name in kept | other}

    def _answering(self, ours: Sample, theirs: Sample) -> Sample:
        if _answer(ours) == _answer(theirs):
            return self._later(_with_the_answer)
        return theirs if self.base and _answer(self.base) == _answer(ours) else ours

    def _later(self, part: Callable[[Sample], str]) -> Sample:
        """Return the side that changed a part; of two that did, the later."""
        sides = self.present
        changed = [side for side in sides if self.base is None or part(side) != part(self.base)]
        return max(changed or sides, key=_rank)


def join(base: FunctionFile | None, ours: FunctionFile, theirs: FunctionFile) -> Joined:
    """Return the calls of both sides, by key and place (SPEC 4.3.9).

    What one side added, changed or removed comes out so. A call that both sides answer
    differently, or that one changed and the other removed, is a conflict. `base` is None when
    both sides added the file. Raises `RecordingError` for the files of two functions.
    """
    old = base or FunctionFile("", "")
    file = FunctionFile(
        _name(old.function, ours.function, theirs.function),
        _name(old.source, ours.source, theirs.source),
        {**theirs.contracts, **ours.contracts},
        {**theirs.instructions, **ours.instructions},
    )
    sides = [_by_key(side) for side in (old, ours, theirs)]
    conflicts: list[Conflict] = []
    for key in sorted({*sides[1], *sides[2]}):
        samples, undecided = _join_key(*(side.get(key, []) for side in sides))
        file.samples += samples
        conflicts += undecided
    return Joined(file, tuple(conflicts))


def _name(base: str, ours: str, theirs: str) -> str:
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    raise RecordingError(
        f"{ours} and {theirs} are recorded in two files, which cannot be one.\n"
        "  Keep one of them, and record the other again."
    )


def _by_key(file: FunctionFile) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in file.samples:
        found.setdefault(sample.key, []).append(sample)
    return found


def _join_key(
    base: list[Sample], ours: list[Sample], theirs: list[Sample]
) -> tuple[list[Sample], list[Conflict]]:
    samples: list[Sample] = []
    conflicts: list[Conflict] = []
    for kind in sorted({_kind(sample) for sample in (*ours, *theirs)}):
        sides = (_spots(s for s in side if _kind(s) == kind) for side in (base, ours, theirs))
        joined, undecided = _join_spots(*_aligned(*sides))
        samples += joined
        conflicts += undecided
    if any(sample.outcome != "unsent" for sample in samples):
        samples = [sample for sample in samples if sample.outcome != "unsent"]
    if _is_lost(samples) and not (conflicts or _is_lost(ours) or _is_lost(theirs)):
        conflicts.append(
            Conflict(samples[0].key, "", next(iter(ours), None), next(iter(theirs), None))
        )
    return samples, conflicts


def _kind(sample: Sample) -> str:
    """Return what one key and place has one of."""
    return sample.outcome if sample.outcome in ("timeout", "cancelled", "unsent") else "replied"


def _is_lost(samples: list[Sample]) -> bool:
    """Say whether a key has several samples and one that no place leads to."""
    sent = [sample for sample in samples if sample.outcome != "unsent"]
    return len(sent) > 1 and any(_kind(s) == "replied" and not s.places for s in sent)


def _spots(samples: Iterable[Sample]) -> Spots:
    spots: Spots = {}
    listed: Counter[str] = Counter()
    for sample in samples:
        for place in sorted(sample.places) or [""]:
            spots[place, listed[place]] = sample
            listed[place] += 1
    return spots


def _lone(side: Spots) -> Sample | None:
    return side[ANY] if side.keys() == {ANY} else None


def _aligned(base: Spots, ours: Spots, theirs: Spots) -> tuple[Spots, Spots, Spots]:
    """Give a key's only sample, which is written without places, those it has elsewhere."""
    lone = _lone(base)
    placed = _anchored(ours, (base, theirs), lone), _anchored(theirs, (base, ours), lone)
    if lone is None or any(ANY in side for side in placed):
        return base, *placed
    held = [side for side in placed if side]
    shared = [spot for spot in held[0] if all(spot in side for side in held)]
    same = [spot for spot in shared if _answer(held[0][spot]) == _answer(lone)]
    return dict.fromkeys(same if len(held) == 1 and same else shared, lone), *placed


def _anchored(side: Spots, others: tuple[Spots, Spots], old: Sample | None) -> Spots:
    """Return a lone sample at the places where it, or what it was before, has places."""
    lone = _lone(side)
    if lone is None:
        return side
    for known in (lone, old or lone):
        everywhere = [item for other in others for item in other.items() if item[0] != ANY]
        spots = [spot for spot, sample in everywhere if _answer(sample) == _answer(known)]
        if spots:
            return dict.fromkeys(spots, lone)
    return side


def _join_spots(base: Spots, ours: Spots, theirs: Spots) -> tuple[list[Sample], list[Conflict]]:
    """Join spot by spot; what is one sample on both sides is one sample again."""
    names = _names(ours, theirs)
    found: dict[tuple[frozenset[int], str], tuple[Entry, set[str]]] = {}
    conflicts: list[Conflict] = []
    for spot in sorted({*ours, *theirs}):
        three = Three(base.get(spot), ours.get(spot), theirs.get(spot))
        if three.is_undecided:
            conflicts.append(Conflict(three.present[0].key, spot[0], three.ours, three.theirs))
        elif entry := three.joined():
            sample = frozenset(names[id(side)] for side in three.present)
            _, places = found.setdefault((sample, canonical(entry)), (entry, set()))
            places |= {spot[0]} - {""}
    return [Sample(entry, "", frozenset(places)) for entry, places in found.values()], conflicts


def _names(ours: Spots, theirs: Spots) -> dict[int, int]:
    """Name the samples, so that two which only meet each other have one name.

    A root is given a sample once: those that one side keeps apart must stay apart.
    """
    met: dict[int, set[int]] = {id(sample): set() for sample in (*ours.values(), *theirs.values())}
    for spot in ours.keys() & theirs.keys():
        met[id(ours[spot])].add(id(theirs[spot]))
        met[id(theirs[spot])].add(id(ours[spot]))
    names = {sample: sample for sample in met}
    for sample in map(id, ours.values()):
        if len(met[sample]) == 1 and met[min(met[sample])] == {sample}:
            names[min(met[sample])] = sample
    return names


def _entry(sample: Sample) -> Entry:
    return {name: value for name, value in sample.entry.items() if name != "places"}


def _answer(sample: Sample) -> str:
    return canonical([sample.outcome, *(sample.entry.get(name) for name in _ANSWER[1:])])


def _with_the_answer(sample: Sample) -> str:
    return canonical({n: v for n, v in sample.entry.items() if n in _WITH_THE_ANSWER})


def _rest(sample: Sample) -> str:
    return canonical({n: v for n, v in _entry(sample).items() if n not in _WITH_THE_ANSWER})


def _rank(sample: Sample) -> tuple[bool, str, str]:
    return is_edited(sample), str(sample.entry.get("recorded_on")), canonical(_entry(sample))
