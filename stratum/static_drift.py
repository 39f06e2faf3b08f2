"""Find drift without running a test: today's source files against `golden/`."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from stratum.errors import RecordingCorrupt
from stratum.hashing import digest, short
from stratum.project import Described, Unloadable, describe
from stratum.recording.ages import is_stale, oldest_day
from stratum.recording.drift import Drift, DriftReport, is_direct
from stratum.recording.golden import FunctionFile, homes, read
from stratum.settings import Settings
from stratum.sink_client import HUMAN


@dataclass(slots=True)
class Findings:
    """What `stratum drift` found: drifts, and how many functions and calls it looked at.

    `later` are functions that only a test run can compare; `outdated` counts calls of a
    contract or instructions that their function no longer has, `stale` those older than
    `max_age`.
    """

    drifts: list[Drift] = field(default_factory=list)
    checked: int = 0
    calls: int = 0
    outdated: int = 0
    stale: int = 0
    later: list[str] = field(default_factory=list)


def find_drift(settings: Settings) -> Findings:
    """Compare every recorded function with its source file below the root."""
    findings = Findings()
    files = dict(_readable(settings.recordings_folder, findings))
    here = {home: file for home, file in files.items() if _is_static(file)}
    findings.later = [file.function for home, file in files.items() if home not in here]
    sources = sorted({file.source for file in here.values()})
    now: dict[tuple[str, str], Described] = {}
    unloadable: dict[str, Unloadable] = {}
    for answer in describe(sources, settings.root) if sources else ():
        if isinstance(answer, Described):
            now[answer.source, answer.function] = answer
        else:
            unloadable[answer.source] = answer
    for file in here.values():
        _compare(file, now, unloadable, findings)
    for file in files.values():
        _look_at_age(file, now, settings, findings)
    return findings


def _readable(folder: Path, findings: Findings) -> Iterator[tuple[str, FunctionFile]]:
    for home in homes(folder):
        try:
            yield home, read(folder, home)
        except RecordingCorrupt as error:
            findings.drifts.append(Drift("corrupt", home, home, 1, str(error)))


def _is_static(file: FunctionFile) -> bool:
    """Say whether importing a file is enough to see the function.

    What `await_human` asks stands inside a function, and is seen when that runs.
    """
    if any(file.instructions_of(sample).get("model") == HUMAN for sample in file.samples):
        return False
    name = PurePosixPath(file.source).name
    is_test = name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"
    if any(map(is_direct, file.instructions.values())):  # a wrapped call has no function of ours
        return False
    return (
        not is_test and "<locals>" not in file.function and not file.source.startswith("outside/")
    )


def _compare(
    file: FunctionFile,
    now: dict[tuple[str, str], Described],
    unloadable: dict[str, Unloadable],
    findings: Findings,
) -> None:
    findings.checked += 1
    findings.calls += len(file.samples)
    if file.source in unloadable:
        report = DriftReport(file.function, file.source, 1)
        title = f"its file cannot be imported: {unloadable[file.source].why}"
        findings.drifts.append(report.drift("corrupt", title))
        return
    today = now.get((file.source, file.function))
    if today is None:
        findings.drifts.append(_orphaned(file, now))
        return
    findings.outdated += sum(1 for sample in file.samples if _is_outdated(sample.entry, today))
    findings.drifts += _changes(file, today)


def _look_at_age(
    file: FunctionFile,
    now: dict[tuple[str, str], Described],
    settings: Settings,
    findings: Findings,
) -> None:
    oldest = oldest_day(settings)
    stale = [sample for sample in file.samples if is_stale(sample, oldest)]
    if not stale:
        return
    findings.stale += len(stale)
    today = now.get((file.source, file.function))
    report = DriftReport(file.function, file.source, today.line if today else 1)
    calls = f"{len(stale)} of {len(file.samples)} recorded calls"
    title = (
        f"{calls} {'is' if len(stale) == 1 else 'are'} older than {settings.max_age} days (max_age)"
    )
    findings.drifts.append(report.drift("stale", title))


def _orphaned(file: FunctionFile, now: dict[tuple[str, str], Described]) -> Drift:
    known = [function for source, function in now if source == file.source]
    close = difflib.get_close_matches(file.function, known, 1)
    hint = f"; was it renamed to {close[0]}?" if close else ""
    calls = f"{len(file.samples)} recorded calls" if len(file.samples) > 1 else "1 recorded call"
    title = f"{calls} of a function that is no longer in this file{hint}"
    return DriftReport(file.function, file.source, 1).drift("orphaned", title)


def _is_outdated(entry: dict[str, object], today: Described) -> bool:
    current = (short(today.contract), short(digest(today.instructions)))
    return (entry["contract"], entry["instructions"]) != current


def _changes(file: FunctionFile, today: Described) -> Iterator[Drift]:
    """Yield what no recorded call of the function has as it is today."""
    report = DriftReport(today.function, today.source, today.line)
    if not file.samples:
        return
    if not any(s.entry["contract"] == short(today.contract) for s in file.samples):
        yield report.contract(file.schema_of(file.samples[-1]) or {}, today.schema)
    if not any(s.entry["instructions"] == short(digest(today.instructions)) for s in file.samples):
        before = file.instructions_of(file.samples[-1])
        yield from report.wording(before, today.instructions)
        yield from report.settings(before, today.instructions)
        yield from report.conditions(before, today.instructions)
