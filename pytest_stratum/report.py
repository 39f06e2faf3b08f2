"""What the run says at its end: drift by cause, counts, money."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, field, fields
from pathlib import Path
from shlex import quote
from typing import Any

from stratum.errors import RecordingError, RecordingMissing
from stratum.recording.drift import Drift
from stratum.recording.store import Counts
from stratum.recording.unused import Unused
from stratum.settings import Settings
from stratum.text import escape, escape_lines
from stratum.trace import TraceRecord
from stratum.values import dataclass

SHOWN_TESTS = 3
SHOWN_FUNCTIONS = 10
SHOWN_LINES = 40


@dataclass(slots=True)
class Block:
    """One cause of drift, the functions it is of, and the tests that met it."""

    drifts: dict[Drift, None] = field(default_factory=dict)
    tests: dict[str, None] = field(default_factory=dict)

    @property
    def drift(self) -> Drift:
        return next(iter(self.drifts))

    @property
    def others(self) -> list[Drift]:
        """The same drift in further functions."""
        return list(self.drifts)[1:]


class Report:
    """Gathers drift and counts, over all workers of a run."""

    def __init__(self, root: Path) -> None:
        self.blocks: dict[str, Block] = {}
        self.counts: Counts = Counts()
        self.live: int = 0
        self.live_cost: float = 0.0
        self.reasons: list[str] = []
        self.notes: list[str] = []
        self.errors: dict[str, None] = {}  # what no test may hide, such as a leaking secret
        self.changed: list[str] = []  # files of golden/, below the root
        self.unused: Unused | None = None  # known after a complete run
        self.warnings: list[str] = []  # of what is beside the run, such as a report file
        self._root = root

    def missed(self, error: BaseException, nodeid: str) -> None:
        """Take up the drifts that an error, or a member of a group, is about."""
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                self.missed(each, nodeid)
        if isinstance(error, RecordingMissing):
            for drift in error.drifts:
                if isinstance(drift, Drift):
                    self._add(drift, nodeid)
        elif isinstance(error, RecordingError):
            self.errors[str(error)] = None

    def _add(self, drift: Drift, nodeid: str) -> None:
        block = self.blocks.setdefault(drift.cause, Block())
        block.drifts[drift] = None
        block.tests[nodeid] = None

    def broke(self, nodeid: str) -> bool:
        """Say whether a test has met drift; what differs in it then is no cause of its own."""
        return any(self.drifts_of(nodeid))

    def drifts_of(self, nodeid: str) -> Iterator[Drift]:
        """Yield what drifted that a test met."""
        yield from (block.drift for block in self.blocks.values() if nodeid in block.tests)

    def traced(self, record: TraceRecord) -> None:
        for call in () if record.kind == "human" else record.calls:
            if call.origin == "live":
                self.live += 1
                self.live_cost += call.cost_usd or 0.0

    def flow_differs(self, item: Any, result: Any, mode: str | None) -> None:
        """Take up a golden flow that is not as it was, or is not there."""
        from pytest_stratum.flow_diff import flow_changes  # loads yaml

        site = (item.name, shown(item.path, self._root), (item.location[1] or 0) + 1)
        if isinstance(result.exception, RecordingError):
            self.errors[str(result.exception)] = None
            return
        if result.recalled_data is None:
            if mode == "replay":
                self._add(Drift("missing", *site, "this golden flow is not recorded"), item.nodeid)
            return
        changes = flow_changes(str(result.recalled_data), str(result.asserted_data or ""))
        title = "the golden flow went another way"
        self._add(Drift("flow", *site, title, tuple(changes)), item.nodeid)

    def counted(self, counts: Counts) -> None:
        for each in fields(Counts):
            total = getattr(self.counts, each.name) + getattr(counts, each.name)
            setattr(self.counts, each.name, total)

    def wrote(self, homes: list[str], settings: Settings) -> None:
        folder = shown(settings.recordings_folder, settings.root)
        self.changed = [f"{folder}/{home}" for home in homes]

    def as_data(self) -> dict[str, Any]:
        """Return what a worker sends to the controller."""
        blocks = [
            {"drifts": [asdict(drift) for drift in block.drifts], "tests": list(block.tests)}
            for block in self.blocks.values()
        ]
        live = [self.live, self.live_cost]
        said = {"errors": list(self.errors), "reasons": self.reasons}
        return {"blocks": blocks, "counts": asdict(self.counts), "live": live, **said}

    def merge(self, data: dict[str, Any]) -> None:
        for block in data["blocks"]:
            for drift in block["drifts"]:
                known = Drift(**{**drift, "lines": tuple(drift["lines"])})
                for nodeid in block["tests"]:
                    self._add(known, nodeid)
        self.counted(Counts(**data["counts"]))
        self.live += data["live"][0]
        self.live_cost += data["live"][1]
        self.errors |= dict.fromkeys(data["errors"])
        self.reasons += data["reasons"]

    def print(self, terminal: Any, mode: str | None) -> None:
        if self.blocks:
            self._print_drift(terminal)
        if self.errors:
            terminal.write_sep("=", "stratum errors", red=True)
            for text in self.errors:
                terminal.write_line(escape_lines(text))
        line = self._summary(mode)
        if line:
            terminal.write_sep("-", "stratum")
            terminal.write_line(line)
            for changed in self.changed:
                terminal.write_line(f"  wrote {escape(changed)}")
            for note in self.notes:
                terminal.write_line(f"  {note}")
            if self.unused is not None and self.unused.calls:
                terminal.write_line(f"  {_left(self.unused)}")
            for reason in self.reasons:
                terminal.write_line(f"  cache: {escape(reason)}")
        for warning in self.warnings:
            terminal.write_line(f"stratum: {escape_lines(warning)}", yellow=True)

    def _print_drift(self, terminal: Any) -> None:
        tests = {nodeid for block in self.blocks.values() for nodeid in block.tests}
        causes = many(len(self.blocks), "cause")
        terminal.write_sep("=", f"stratum drift: {causes}, {many(len(tests), 'test')}", red=True)
        for block in self.blocks.values():
            for line in _lines(block):
                terminal.write_line(line)

    def _summary(self, mode: str | None) -> str:
        counts = self.counts
        if mode == "replay":
            missing = len(self.blocks)
            drift = f", {many(missing, 'cause')} of drift" if missing else ""
            stale = f", {counts.stale} of the replayed stale" if counts.stale else ""
            replayed = f"{many(counts.replayed, 'call')} replayed, {usd(counts.saved)} saved"
            return f"{replayed}{stale}{drift}"
        if mode is not None:
            cached = f", {counts.cached} taken from the cache" if counts.cached else ""
            unpriced = f" and {counts.unpriced} of unknown price" if counts.unpriced else ""
            return (
                f"{many(counts.recorded, 'call')} recorded for {usd(counts.spent)}{unpriced}"
                f"{cached}, {counts.replayed} replayed, {usd(counts.saved)} saved"
            )
        if self.live:
            return (
                f"{many(self.live, 'live call')} for {usd(self.live_cost)}; "
                "pytest --stratum-record would keep the answers"
            )
        return f"{many(counts.replayed, 'call')} replayed" if counts.replayed else ""


def _lines(block: Block) -> list[str]:
    drift = block.drift
    where = f"{escape(drift.file)}:{drift.line} · {many(len(block.tests), 'test')}"
    head = f"{drift.kind} drift · {escape(drift.function)} · {where}"
    lines = ["", head, f"  {escape(drift.title)}"]
    lines += [f"    {escape(line)}" for line in drift.lines[:SHOWN_LINES]]
    if len(drift.lines) > SHOWN_LINES:
        lines.append(f"    … and {len(drift.lines) - SHOWN_LINES} more lines")
    lines += [f"  {line}" for line in also_in(d.where for d in block.others)]
    tests = list(block.tests)
    lines += [f"  breaks {escape(nodeid)}" for nodeid in tests[:SHOWN_TESTS]]
    if len(tests) > SHOWN_TESTS:
        lines.append(f"  … and {len(tests) - SHOWN_TESTS} more")
    return [*lines, f"  accept: {accept_command(tests)}"]


def also_in(places: Iterable[str]) -> list[str]:
    """Return lines that name the further functions of a drift."""
    named = [f"also in {escape(place)}" for place in places]
    left = len(named) - SHOWN_FUNCTIONS
    return [*named[:SHOWN_FUNCTIONS], *([f"… and in {left} more"] if left > 0 else [])]


def _left(unused: Unused) -> str:
    outdated = f", {unused.outdated} of them outdated" if unused.outdated else ""
    verb = "was" if unused.calls == 1 else "were"
    return f"{many(unused.calls, 'recorded call')} {verb} not used (orphaned{outdated})"


def shown(path: Path, root: Path) -> str:
    """Return a path as it is seen from a folder, with `/`."""
    return Path(os.path.relpath(path, root)).as_posix()


def accept_command(tests: list[str]) -> str:
    """Return the command that accepts a drift which these tests met."""
    if len(tests) == 1:
        return f"pytest --stratum-record {quote(escape(tests[0]))}"
    files = list(dict.fromkeys(nodeid.partition("::")[0] for nodeid in tests))
    chosen = files if len(files) <= SHOWN_TESTS else []
    return " ".join(["pytest --stratum-record", *(quote(escape(file)) for file in chosen)])


def many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def usd(amount: float) -> str:
    return f"${amount:.4f}" if amount >= 0.0001 or not amount else f"${amount:.2g}"
