"""Tell JUnit reports what a test's calls were."""

from collections.abc import Iterable, Iterator

import pytest

from pytest_stratum.session import ROOTS, StratumSession
from stratum.hashing import short
from stratum.trace import AttemptRecord, TraceRecord

PREFIX = "stratum."


def describe(item: pytest.Item, session: StratumSession) -> None:
    """Give a test properties about its calls and those of fixtures that it set up.

    They are numbers, hashes and words of ours, so none needs escaping in XML.
    """
    others = [each for each in item.user_properties if not each[0].startswith(PREFIX)]
    item.user_properties[:] = [*others, *_properties(item, session)]


def _properties(item: pytest.Item, session: StratumSession) -> Iterator[tuple[str, object]]:
    records = [each for root in item.stash.get(ROOTS, []) for each in root.records]
    calls = [each for each in records if each.kind == "infer"]
    if calls:
        yield from _of_calls(calls)
    kinds = dict.fromkeys(drift.kind for drift in session.report.drifts_of(item.nodeid))
    if kinds:
        yield "stratum.drift", " ".join(kinds)


def _of_calls(calls: list[TraceRecord]) -> Iterator[tuple[str, object]]:
    attempts = [attempt for call in calls for attempt in call.calls]
    yield "stratum.calls", len(calls)
    yield "stratum.attempts", len(attempts)
    if (cost := _cost(attempts)) is not None:
        yield "stratum.cost_usd", f"{cost:.6f}"
    yield "stratum.contracts", _hashes(call.contract_hash for call in calls)
    if attempts:
        yield "stratum.keys", _hashes(attempt.key for attempt in attempts)


def _hashes(full: Iterable[str | None]) -> str:
    return " ".join(dict.fromkeys(short(each) for each in full if each))


def _cost(attempts: list[AttemptRecord]) -> float | None:
    """Return what the attempts cost, or cost when they were recorded; None when unknown."""
    costs = [attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None]
    return sum(costs) if costs and len(costs) == len(attempts) else None
