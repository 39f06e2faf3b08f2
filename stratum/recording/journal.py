"""What the workers of a record run pass on to the process that writes `golden/`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stratum.recording.golden import Recordings, Sample
from stratum.recording.renewing import Asked, Use


class Journal:
    """A worker's file: one line for each root that passed, written at once.

    A worker that dies leaves what it had passed on; half a line at the end is left out.
    Schemas and instructions stand in the first line that needs them.
    """

    def __init__(self, folder: Path, worker: str, recordings: Recordings) -> None:
        self._path = folder / f"{worker}.jsonl"
        self._recordings = recordings
        self._worker = worker
        self._told: set[str] = set()
        self._positions: dict[int, tuple[str, int]] | None = None

    def append(self, uses: Iterable[Use]) -> None:
        lines = [self._data(use) for use in uses]
        if lines:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines) + "\n")

    def _data(self, use: Use) -> dict[str, Any]:
        asked = asdict(use.asked)
        for name, shared in (("schema", use.asked.contract), ("instructions", use.asked.wording)):
            if shared in self._told:
                del asked[name]
        self._told |= {use.asked.contract, use.asked.wording}
        return {"root": f"{self._worker}:{use.root}", "asked": asked, **self._reference(use.sample)}

    def _reference(self, sample: Sample) -> dict[str, Any]:
        """Return where a sample stands in the files, or the whole of one that is fresh."""
        if sample.fresh:
            return {"entry": sample.entry}
        if self._positions is None:
            self._positions = {
                id(each): (home, number)
                for home, file in self._recordings.files.items()
                for number, each in enumerate(file.samples)
            }
        return {"old": self._positions[id(sample)]}


def read_journals(folder: Path, recordings: Recordings) -> list[Use]:
    """Return what the workers of a run passed on, the same whatever worker did what."""
    fresh: dict[tuple[Any, ...], Sample] = {}
    uses = []
    for path in sorted(folder.glob("*.jsonl")):
        told: dict[str, Any] = {}
        for line in _lines(path):
            uses += [_use(data, told, fresh, recordings) for data in line]
    return sorted(uses, key=lambda use: (use.asked.home, use.asked.place or "", str(use.root)))


def _lines(path: Path) -> Iterator[list[dict[str, Any]]]:
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _use(
    data: dict[str, Any],
    told: dict[str, Any],
    fresh: dict[tuple[Any, ...], Sample],
    recordings: Recordings,
) -> Use:
    asked = data["asked"]
    for name, shared in (("schema", asked["contract"]), ("instructions", asked["wording"])):
        asked[name] = told.setdefault(shared, asked.get(name))
    known = Asked(**asked)
    if "old" in data:
        home, number = data["old"]
        return Use(data["root"], known, recordings.files[home].samples[number])
    entry = data["entry"]
    slot = (known.home, entry["key"], known.place, entry.get("outcome"))
    sample = fresh.setdefault(slot, Sample(entry, known.home, fresh=True))
    return Use(data["root"], known, sample)
