"""Renew a golden file with what a run used and recorded of its function."""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from stratum.calls import Request
from stratum.hashing import digest, short
from stratum.recording.golden import FunctionFile, Sample, the_only_ones
from stratum.values import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request a golden file is renewed with, as plain data."""

    home: str
    function: str
    place: str | None
    attempt: int
    contract: str
    schema: Any
    instructions: dict[str, Any]
    wording: str  # the short digest of the instructions

    @classmethod
    def of(cls, request: Request, home: str) -> "Asked":
        instructions = request.instructions
        return cls(
            home=home,
            function=request.site.function,
            place=None if request.place is None else str(request.place),
            attempt=request.attempt,
            contract=short(request.contract.hash),
            schema=request.contract.schema,
            instructions=instructions,
            wording=short(digest(instructions)),
        )


@dataclass(frozen=True, slots=True)
class Use:
    """A root, by whatever tells it from others, met a sample at a request."""

    root: Hashable
    asked: Asked
    sample: Sample


@dataclass(frozen=True, slots=True)
class Used:
    """A sample, the last request that met it, and all places where it was met.

    `repeated` says that one root met it at more than one of them.
    """

    sample: Sample
    asked: Asked
    places: frozenset[str]
    repeated: bool


Fresh: TypeAlias = dict[str, list[Used]]


def spot(request: Request) -> str:
    """Return the text of a request's place; `-` when it has none."""
    return "-" if request.place is None else str(request.place)


def renewed(
    old: FunctionFile | None,
    home: str,
    uses: Iterable[Use],
    complete: bool,
    *,
    prune: bool = False,
) -> FunctionFile:
    """Return the file that a run leaves: what was used, and what it knows nothing of.

    After a complete run the places are exactly those used, and what is outdated or could
    answer nothing any more is gone.
    """
    used = _used(uses)
    fresh = _by_inputs(used)
    file = FunctionFile(used[-1].asked.function, home.rpartition("/")[0])
    if old is not None:
        file.contracts, file.instructions = dict(old.contracts), dict(old.instructions)
        file.samples = [] if complete and prune else _kept(old, used, fresh, complete=complete)
    for each in used:
        file.contracts[each.asked.contract] = each.asked.schema
        file.instructions[each.asked.wording] = each.asked.instructions
        file.samples.append(_updated(each, home, fresh, complete=complete))
    answered = {sample.key for sample in file.samples if sample.outcome != "unsent"}
    file.samples = [s for s in file.samples if s.outcome != "unsent" or s.key not in answered]
    _open_the_only_ones(file, used, complete=complete)
    return file


def _used(uses: Iterable[Use]) -> list[Used]:
    """Return each sample once, with its places."""
    by_sample: dict[int, list[Use]] = {}
    for use in uses:
        by_sample.setdefault(id(use.sample), []).append(use)
    return [_gathered(group) for group in by_sample.values()]


def _gathered(uses: list[Use]) -> Used:
    met = {(use.root, use.asked.place) for use in uses if use.asked.place is not None}
    places = frozenset(place for _, place in met)
    repeated = len({root for root, _ in met}) < len(met)
    return Used(uses[0].sample, uses[-1].asked, places, repeated)


def _by_inputs(used: Iterable[Used]) -> Fresh:
    """Return what was asked anew, by the digest of the inputs."""
    fresh: Fresh = {}
    for each in used:
        if each.sample.fresh:
            fresh.setdefault(each.sample.entry["inputs"], []).append(each)
    return fresh


def _updated(each: Used, home: str, fresh: Fresh, *, complete: bool) -> Sample:
    """Return a used sample as it is written; one from another file is copied home."""
    sample, places = each.sample, each.places
    if not complete:
        places |= sample.places - _taken(sample, fresh)
    if sample.outcome == "unsent":
        places = frozenset()
    entry = {**sample.entry, "instructions": each.asked.wording}
    return Sample(entry, home, places, open=sample.open and not complete)


def _open_the_only_ones(file: FunctionFile, used: Iterable[Used], *, complete: bool) -> None:
    """Write a key's only sample without places, unless one root needs it at several."""
    named = {(each.sample.key, each.repeated or _is_named(each, complete)) for each in used}
    for sample in the_only_ones(file.samples):
        if (sample.key, False) in named:
            sample.places = frozenset()


def _is_named(each: Used, complete: bool) -> bool:
    return not complete and not each.sample.fresh and bool(each.sample.places)


def _kept(old: FunctionFile, used: list[Used], fresh: Fresh, *, complete: bool) -> list[Sample]:
    """Return what stays of the entries that this run did not use."""
    met = {id(each.sample) for each in used}
    unused = [sample for sample in old.samples if id(sample) not in met]
    if complete:
        unused = _still_possible(unused, used)
    left = (_left(sample, old, fresh, complete=complete) for sample in unused)
    return [sample for sample in left if sample is not None]


def _still_possible(unused: Iterable[Sample], used: Iterable[Used]) -> list[Sample]:
    """Return the entries that some call could ask for, of those a complete run did not use."""
    keys = {each.sample.key for each in used}
    contracts = {each.asked.contract for each in used}
    wordings = {each.asked.wording for each in used}
    current = (s for s in unused if s.entry["contract"] in contracts)
    return [s for s in current if s.entry["instructions"] in wordings and s.key not in keys]


def _left(sample: Sample, old: FunctionFile, asked: Fresh, *, complete: bool) -> Sample | None:
    """Return what calls that were asked anew leave of an entry: it without their places.

    They replace the entries with the same inputs, model and params, from their attempt on. An
    entry without places goes when it drifted or was asked anew itself; a retry that is as
    it would be asked today may follow an answer at another place.
    """
    alike = asked.get(sample.entry["inputs"], ())
    fresh = [each for each in alike if _replaces(each, sample, old)]
    if not complete:
        fresh = [each for each in fresh if not _differ_in_time(sample, each.sample)]
    if sample.places:
        places = sample.places - {place for each in fresh for place in each.places}
        return replace(sample, places=places) if places else None
    if not complete:
        fresh = [each for each in fresh if not (sample.attempt and _is_current(sample, each))]
    return None if fresh else sample


def _taken(sample: Sample, fresh: Fresh) -> frozenset[str]:
    """Return the places at which a sample's key was asked anew."""
    alike = fresh.get(sample.entry["inputs"], ())
    asked = (each for each in alike if each.sample.key == sample.key)
    same = (each for each in asked if not _differ_in_time(sample, each.sample))
    return frozenset(place for each in same for place in each.places)


def _replaces(fresh: Used, sample: Sample, old: FunctionFile) -> bool:
    if sample.attempt < fresh.asked.attempt:
        return False
    return _settings_of(old.instructions_of(sample)) == _settings_of(fresh.asked.instructions)


def _is_current(sample: Sample, each: Used) -> bool:
    """Say whether an entry is of today's contract and instructions."""
    written = (sample.entry["contract"], sample.entry["instructions"])
    return written == (each.asked.contract, each.asked.wording)


def _differ_in_time(one: Sample, other: Sample) -> bool:
    """Say whether the entries are of one call under different limits, for different tests."""
    return one.key == other.key and (one.outcome == "timeout") != (other.outcome == "timeout")


def _settings_of(instructions: dict[str, Any]) -> tuple[Any, Any]:
    return instructions.get("model"), instructions.get("params")
