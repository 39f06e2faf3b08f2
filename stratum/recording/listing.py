"""What is recorded, as values that can be shown: of a project, of a function, of one call."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stratum.errors import RecordingCorrupt
from stratum.prompts import Turn
from stratum.recording.golden import ANY, FunctionFile, Sample, homes, read, sorted_places


@dataclass(frozen=True, slots=True)
class CallListing:
    """One recorded call. `cost` is in US dollars, None when unknown; `attempt` counts from 0.

    Among the places `*` stands for all that no call of the same key names.
    """

    key: str
    places: tuple[str, ...]
    attempt: int
    outcome: str
    recorded_on: str
    input_tokens: int
    output_tokens: int
    cost: float | None
    answered_by: str
    edited: bool

    @classmethod
    def of(cls, sample: Sample) -> Self:
        entry = sample.entry
        taken, given = entry.get("tokens", (0, 0))
        return cls(
            key=sample.key,
            places=places_of(sample),
            attempt=sample.attempt,
            outcome=sample.outcome,
            recorded_on=entry.get("recorded_on", ""),
            input_tokens=taken,
            output_tokens=given,
            cost=entry.get("cost"),
            answered_by=entry.get("answered_by", ""),
            edited=is_edited(sample),
        )


@dataclass(frozen=True, slots=True)
class Sums:
    """What some calls come to; `unpriced` were answered at a price that nobody knows."""

    calls: int
    first_day: str
    last_day: str
    input_tokens: int
    output_tokens: int
    cost: float
    unpriced: int
    edited: int
    models: tuple[str, ...]

    @classmethod
    def of(cls, calls: Iterable[CallListing]) -> Self:
        calls = tuple(calls)
        days = sorted(call.recorded_on for call in calls if call.recorded_on)
        return cls(
            calls=len(calls),
            first_day=days[0] if days else "",
            last_day=days[-1] if days else "",
            input_tokens=sum(call.input_tokens for call in calls),
            output_tokens=sum(call.output_tokens for call in calls),
            cost=sum(call.cost or 0.0 for call in calls),
            unpriced=sum(call.cost is None and call.outcome == "answered" for call in calls),
            edited=sum(call.edited for call in calls),
            models=tuple(sorted({call.answered_by for call in calls if call.answered_by})),
        )


@dataclass(frozen=True, slots=True)
class FunctionListing:
    """What is recorded of one function; `file` is below the folder of the recordings."""

    function: str
    source: str
    file: str
    sums: Sums
    calls: tuple[CallListing, ...]

    @classmethod
    def of(cls, home: str, file: FunctionFile) -> Self:
        calls = tuple(CallListing.of(sample) for sample in file.samples)
        return cls(file.function, file.source, home, Sums.of(calls), calls)


@dataclass(frozen=True, slots=True)
class Found:
    """One recorded call in its file."""

    home: str
    file: FunctionFile
    sample: Sample

    @property
    def first(self) -> Sample | None:
        """The recorded first attempt of the same call."""
        shared = ("inputs", "instructions", "contract")
        for other in self.file.samples:
            same = all(other.entry[name] == self.sample.entry[name] for name in shared)
            if same and not other.attempt and other.turn == self.sample.turn:
                return other
        return None

    def prompt(self) -> list[str] | None:
        """Return the prompt as it was sent, line by line; None when its first part is not there.

        A retry holds its violations only: they stand after the first attempt's prompt, and
        where its last answer was sent, a line says so.
        """
        entry = self.sample.entry
        if "retry" not in entry:
            return _sent(self.sample)
        lines = _sent(self.first) if self.first else None
        answer = f"(the answer of attempt {self.sample.attempt})"
        return None if lines is None else [*lines, "", answer, "", *self.turn()]

    def turn(self) -> list[str]:
        """Return what a retry adds to the first attempt's prompt, without the last answer."""
        return Turn(None, tuple(self.sample.entry.get("retry", ()))).text.split("\n")

    def inputs(self) -> str:
        """Return the prompt after the instructions, or what a retry adds, on one line."""
        entry = self.sample.entry
        if "retry" in entry:
            return "retry: " + "; ".join(entry["retry"])
        words = self.file.instructions_of(self.sample)
        parts = [words[name].strip() for name in ("intent", "context") if words.get(name)]
        lines = entry.get("prompt", [])
        told = len("\n\n".join(parts).split("\n")) if parts else 0
        return " ".join(lines[told:]).strip()


def _sent(sample: Sample) -> list[str] | None:
    """Return the lines of a first attempt; those of a later turn of `@refine` end with its own."""
    lines: list[str] | None = sample.entry.get("prompt")
    if lines is None or not sample.turn:
        return lines
    revision = sample.entry.get("revision", ())
    return [*lines, "", f"(the output of turn {sample.turn})", "", *revision]


def read_each(folder: Path) -> tuple[dict[str, FunctionFile], list[RecordingCorrupt]]:
    """Return the golden files below a folder by home, and why others cannot be read."""
    files: dict[str, FunctionFile] = {}
    faults: list[RecordingCorrupt] = []
    for home in homes(folder):
        try:
            files[home] = read(folder, home)
        except RecordingCorrupt as error:
            faults.append(error)
    return files, faults


def find(files: dict[str, FunctionFile], prefix: str) -> Iterator[Found]:
    """Yield the calls whose key begins with a prefix."""
    for home, file in files.items():
        for sample in file.samples:
            if sample.key.startswith(prefix.lower()):
                yield Found(home, file, sample)


def places_of(sample: Sample) -> tuple[str, ...]:
    """Return the places as a golden file lists them; without one it is `*`."""
    is_open = sample.open or not sample.places
    return (ANY,) * is_open + tuple(map(str, sorted_places(sample.places)))


def is_edited(sample: Sample) -> bool:
    """Say whether a person wrote the reply."""
    return sample.entry.get("edited") is True
