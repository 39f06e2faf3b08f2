"""Join two versions of a golden file that grew from a common one."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from stratum.errors import RecordingError
from stratum.hashing import canonical
from stratum.recording.golden import ANY, FunctionFile, Sample, the_only_ones
from stratum.recording.listing import is_edited, places_of

Entry: TypeAlias = dict[str, Any]
Spot: TypeAlias = tuple[str, int]  # a place, or ANY; and how many samples list it before
Spots: TypeAlias = dict[Spot, Sample]

ELSEWHERE: Spot = (ANY, 0)
_ANSWER = ("outcome", "reply", "expired", "ms", "cap")
_WITH_THE_ANSWER = {*_ANSWER, "tokens", "cost", "answered_by", "wire", "recorded_on", "edited"}


@dataclass(frozen=True, slots=True)
class Conflict:
    """A key and place of which a person has to say what holds; None is a removed call."""

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
    """Return the calls of both sides, by key and place (SPEC 4.3).

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
    if _same(ours, theirs) or _same(theirs, base):
        return ours, []
    if _same(ours, base):
        return theirs, []
    samples: list[Sample] = []
    conflicts: list[Conflict] = []
    for kind in sorted({_kind(sample) for sample in (*ours, *theirs)}):
        sides = (_spots(s for s in side if _kind(s) == kind) for side in (base, ours, theirs))
        joined, undecided = _join_spots(*_aligned(*sides))
        samples += joined
        conflicts += undecided
    samples = [s for s in samples if s.outcome != "unsent"] or samples
    for only in the_only_ones(samples):
        only.open = True
    if not conflicts and _is_mixed(samples) and not (_is_mixed(ours) or _is_mixed(theirs)):
        conflicts.append(Conflict(samples[0].key, ANY, ours[0], theirs[0]))
    return samples, conflicts


def _same(one: list[Sample], other: list[Sample]) -> bool:
    return sorted(map(_whole, one)) == sorted(map(_whole, other))


def _kind(sample: Sample) -> str:
    """Return what one key and place has one of."""
    return sample.outcome if sample.outcome in ("timeout", "cancelled", "unsent") else "replied"


def _is_mixed(samples: list[Sample]) -> bool:
    """Say whether a key has several samples, one of them for wherever the others are not."""
    sent = [sample for sample in samples if sample.outcome != "unsent"]
    return len(sent) > 1 and any(ANY in places_of(sample) for sample in sent)


def _spots(samples: Iterable[Sample]) -> Spots:
    spots: Spots = {}
    listed: Counter[str] = Counter()
    for sample in samples:
        for place in places_of(sample):
            spots[place, listed[place]] = sample
            listed[place] += 1
    return spots


def _lone(side: Spots) -> Sample | None:
    return side[ELSEWHERE] if side.keys() == {ELSEWHERE} else None


def _aligned(base: Spots, ours: Spots, theirs: Spots) -> tuple[Spots, Spots, Spots]:
    """Give a key's only sample, which is written without places, those it has elsewhere."""
    old = _lone(base)
    placed = _anchored(ours, (base, theirs), old), _anchored(theirs, (base, ours), old)
    if old is None or any(_lone(side) for side in placed):
        return base, *placed
    held = [side for side in placed if side]
    shared = [spot for spot in held[0] if all(spot in side for side in held)]
    same = [spot for spot in shared if _answer(held[0][spot]) == _answer(old)]
    return dict.fromkeys(same if len(held) == 1 and same else shared, old), *placed


def _anchored(side: Spots, others: tuple[Spots, Spots], old: Sample | None) -> Spots:
    """Return a lone sample at the places where it, or what it was before, has places."""
    lone = _lone(side)
    if lone is None:
        return side
    everywhere = [item for other in others if not _lone(other) for item in other.items()]
    for known in (lone, old or lone):
        spots = [spot for spot, sample in everywhere if _answer(sample) == _answer(known)]
        if any(spot != ELSEWHERE for spot in spots):
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
            places.add(spot[0])
    return [_sample(entry, places) for entry, places in found.values()], conflicts


def _sample(entry: Entry, places: set[str]) -> Sample:
    return Sample(entry, "", frozenset(places - {ANY}), open=ANY in places)


def _names(ours: Spots, theirs: Spots) -> dict[int, int]:
    """Name the samples, so that two which only meet each other have one name."""
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


def _whole(sample: Sample) -> str:
    return canonical([_entry(sample), places_of(sample)])


def _answer(sample: Sample) -> str:
    return canonical([sample.outcome, *(sample.entry.get(name) for name in _ANSWER[1:])])


def _with_the_answer(sample: Sample) -> str:
    return canonical({n: v for n, v in sample.entry.items() if n in _WITH_THE_ANSWER})


def _rest(sample: Sample) -> str:
    return canonical({n: v for n, v in _entry(sample).items() if n not in _WITH_THE_ANSWER})


def _rank(sample: Sample) -> tuple[bool, str, str]:
    return is_edited(sample), str(sample.entry.get("recorded_on")), canonical(_entry(sample))
