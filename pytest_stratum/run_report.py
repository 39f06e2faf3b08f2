"""What a run has to say, as the data that report files and CI are made of."""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

import stratum
from pytest_stratum.report import Block, Report, accept_command
from pytest_stratum.session import StratumSession
from stratum.recording.drift import Drift, Kind
from stratum.text import escape, escape_lines

MOST = 1e15  # dollars; what a golden file says beyond is no price


class _Part(BaseModel):
    """A part of the report: exactly these fields."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True)


class Calls(_Part):
    """How many calls were answered from where.

    `recorded` were asked and kept; `cached` were asked and paid for in an earlier run, and taken
    from the cache; `live` were asked and kept nowhere.
    """

    replayed: int = Field(ge=0)
    recorded: int = Field(ge=0)
    cached: int = Field(ge=0)
    live: int = Field(ge=0)


class Money(_Part):
    """US dollars; `unpriced` calls were recorded at a price that nobody knows."""

    spent_usd: float = Field(ge=0)
    saved_usd: float = Field(ge=0)
    live_usd: float = Field(ge=0)
    unpriced: int = Field(ge=0)


class Recordings(_Part):
    """What became of the recordings.

    `written` are golden files below the root. `stale` counts the replayed calls that are older
    than `max_age`; `orphaned` the recorded calls that the run did not use, `outdated` those of
    them of a contract or instructions that their function no longer has. The last two are null
    unless the run was complete.
    """

    written: tuple[str, ...]
    stale: int = Field(ge=0)
    orphaned: int | None = Field(ge=0)
    outdated: int | None = Field(ge=0)


class Where(_Part):
    """A function; `file` is below the root."""

    function: str
    file: str
    line: int = Field(ge=0)

    @classmethod
    def of(cls, drift: Drift) -> Self:
        return cls(function=escape(drift.function), file=escape(drift.file), line=drift.line)

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"


class DriftBlock(_Part):
    """One cause of drift; `cause` is the same for the same change, in every run.

    `file` is below the root, `also` are further functions with the same change, `tests` are
    those that met it, `accept` is the command that accepts it.
    """

    kind: Kind
    function: str
    file: str
    line: int = Field(ge=0)
    title: str
    lines: tuple[str, ...]
    also: tuple[Where, ...]
    tests: tuple[str, ...]
    cause: str = Field(pattern="^[0-9a-f]{64}$")
    accept: str

    @classmethod
    def of(cls, block: Block) -> Self:
        drift, tests = block.drift, list(block.tests)
        return cls(
            kind=drift.kind,
            function=escape(drift.function),
            file=escape(drift.file),
            line=drift.line,
            title=escape(drift.title),
            lines=tuple(map(escape, drift.lines)),
            also=tuple(map(Where.of, block.others)),
            tests=tuple(map(escape, tests)),
            cause=drift.cause,
            accept=accept_command(tests),
        )


class RunReport(_Part):
    """What one run of pytest with Stratum came to; `version` is that of this form."""

    version: Literal[1]
    stratum: str
    mode: Literal["record", "record-all", "replay"] | None
    exit_code: int
    calls: Calls
    money: Money
    recordings: Recordings
    drift: tuple[DriftBlock, ...]
    errors: tuple[str, ...]

    @property
    def tests(self) -> int:
        """How many tests met drift."""
        return len({nodeid for block in self.drift for nodeid in block.tests})

    @property
    def says_something(self) -> bool:
        calls = self.calls
        spoke = calls.replayed or calls.recorded or calls.cached or calls.live
        return bool(self.mode or spoke or self.drift or self.errors)


def schema() -> dict[str, Any]:
    """Return the JSON schema of a report, as `schemas/report-1.json` publishes it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **RunReport.model_json_schema(mode="serialization"),
    }


def run_report(session: StratumSession, exit_code: int) -> RunReport:
    """Return what a run that has ended came to."""
    report = session.report
    return RunReport(
        version=1,
        stratum=stratum.__version__,
        mode=session.mode,  # type: ignore[arg-type]  # one of the three
        exit_code=exit_code,
        calls=_calls(report),
        money=_money(report),
        recordings=_recordings(report),
        drift=tuple(map(DriftBlock.of, report.blocks.values())),
        errors=tuple(map(escape_lines, report.errors)),
    )


def _calls(report: Report) -> Calls:
    counts = report.counts
    return Calls(
        replayed=counts.replayed,
        recorded=counts.recorded,
        cached=counts.cached,
        live=report.live,
    )


def _money(report: Report) -> Money:
    counts = report.counts
    return Money(
        spent_usd=_amount(counts.spent),
        saved_usd=_amount(counts.saved),
        live_usd=_amount(report.live_cost),
        unpriced=counts.unpriced,
    )


def _amount(usd: float) -> float:
    return float(max(0.0, min(usd, MOST)))


def _recordings(report: Report) -> Recordings:
    unused = report.unused
    return Recordings(
        written=tuple(map(escape, report.changed)),
        stale=report.counts.stale,
        orphaned=None if unused is None else unused.calls,
        outdated=None if unused is None else unused.outdated,
    )
