"""Count the recorded answers that a complete run did not use."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from stratum.recording.golden import FunctionFile, Sample
from stratum.recording.renewing import Use
from stratum.values import dataclass


@dataclass(frozen=True, slots=True)
class Unused:
    """How many recorded answers nothing asked for.

    `outdated` are those among them of a contract or instructions that no used one of their
    function has.
    """

    calls: int = 0
    outdated: int = 0

    @classmethod
    def by_replay(
        cls, files: Mapping[str, FunctionFile], used: Iterable[Mapping[str, list[int]]]
    ) -> Self:
        """Count in the files that the processes of a replay answered from.

        `used` are the positions of the calls that each process used, by home.
        """
        met = {(home, at) for each in used for home, places in each.items() for at in places}
        numbered = {
            id(sample)
            for home, file in files.items()
            for at, sample in enumerate(file.samples)
            if (home, at) in met
        }
        return cls._of(files, lambda sample: id(sample) in numbered)

    @classmethod
    def after_record(cls, folder: Path, uses: Iterable[Use]) -> Self:
        """Count in the files that a complete record run has written.

        Of a key that it used it leaves none but those that it used.
        """
        from stratum.recording.listing import read_each  # a replay reads nothing anew

        met = {(use.asked.home, use.sample.key) for use in uses}
        files, _ = read_each(folder)
        return cls._of(files, lambda sample: (sample.home, sample.key) in met)

    @classmethod
    def _of(cls, files: Mapping[str, FunctionFile], is_used: Callable[[Sample], bool]) -> Self:
        calls = outdated = 0
        for file in files.values():
            used = [sample for sample in _answers(file) if is_used(sample)]
            left = [sample for sample in _answers(file) if not is_used(sample)]
            calls += len(left)
            today = _of_today(used)
            outdated += sum(_is_outdated(sample, today) for sample in left)
        return cls(calls, outdated)


def _answers(file: FunctionFile) -> Iterator[Sample]:
    """Yield what was answered: a call that was not sent, or cancelled, need not be asked again."""
    return (sample for sample in file.samples if "reply" in sample.entry)


def _of_today(used: Iterable[Sample]) -> set[str]:
    """Return the contracts and instructions that a function has, as far as it was met."""
    return {str(sample.entry[name]) for sample in used for name in ("contract", "instructions")}


def _is_outdated(sample: Sample, today: set[str]) -> bool:
    written = {sample.entry["contract"], sample.entry["instructions"]}
    return bool(today) and not written <= today
