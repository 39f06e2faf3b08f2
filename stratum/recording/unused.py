"""Find the recorded answers that a complete run did not use."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from stratum.recording.golden import FunctionFile, Sample
from stratum.recording.listing import read_each
from stratum.recording.renewing import Use


@dataclass(frozen=True, slots=True)
class Unused:
    """How many recorded answers nothing asked for.

    `outdated` ones among them are of a contract or instructions that their function, as the
    run met it, no longer has.
    """

    calls: int = 0
    outdated: int = 0

    @classmethod
    def by_replay(cls, uses: Iterable[Use], files: Mapping[str, FunctionFile]) -> Self:
        """Count in the files that a replay answered from."""
        uses = tuple(uses)
        met = {id(use.sample) for use in uses}
        return cls._of((s for s in _answers(files) if id(s) not in met), uses)

    @classmethod
    def after_record(cls, uses: Iterable[Use], folder: Path) -> Self:
        """Count in the files that a complete record run has written.

        It leaves none of a key that it used but those that it used.
        """
        uses = tuple(uses)
        met = {(use.asked.home, use.sample.key) for use in uses}
        files, _ = read_each(folder)
        return cls._of((s for s in _answers(files) if (s.home, s.key) not in met), uses)

    @classmethod
    def _of(cls, unused: Iterable[Sample], uses: Iterable[Use]) -> Self:
        today: dict[str, set[str]] = {}
        for use in uses:
            known = today.setdefault(use.asked.home, set())
            known |= {use.asked.contract, use.asked.wording}
        unused = tuple(unused)
        return cls(len(unused), sum(_is_outdated(sample, today) for sample in unused))


def _answers(files: Mapping[str, FunctionFile]) -> Iterator[Sample]:
    """Yield what was answered; a call that was not sent, or not to its end, is not asked for."""
    for file in files.values():
        yield from (sample for sample in file.samples if "reply" in sample.entry)


def _is_outdated(sample: Sample, today: Mapping[str, set[str]]) -> bool:
    known = today.get(sample.home)
    return known is not None and not known >= {
        sample.entry["contract"],
        sample.entry["instructions"],
    }
