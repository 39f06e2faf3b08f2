"""What the fixtures give to a test."""

from collections.abc import Callable, Sequence
from typing import Any, overload

import pytest

from pytest_stratum.session import StratumSession
from stratum.scope import secrets
from stratum.trace import TraceRecord, nested, snapshot


class Traces(Sequence[TraceRecord]):
    """The trace records of a test's call phase, oldest first, as they stand when asked."""

    def __init__(self, session: StratumSession, item: pytest.Item) -> None:
        self._session = session
        self._item = item

    @property
    def records(self) -> tuple[TraceRecord, ...]:
        root = self._session.root_of(self._item)
        return tuple(root.records) if root is not None else ()

    @overload
    def __getitem__(self, index: int) -> TraceRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TraceRecord]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def tree(self) -> list[dict[str, Any]]:
        """Return the records as a tree of plain data, without what changes from run to run."""
        return nested(self.records)

    def __repr__(self) -> str:
        return f"<{len(self)} trace records>"


class GoldenFlow:
    """Runs a flow, and compares its result and its trace with the golden file."""

    def __init__(self, session: StratumSession, item: pytest.Item, golden: Any) -> None:
        self._traces = Traces(session, item)
        self._golden = golden

    async def __call__(self, flow: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        before = len(self._traces)
        result = await flow(*args, **kwargs)
        self._compare(result, before)
        return result

    def run(self, flow: Any, *args: Any, **kwargs: Any) -> Any:
        """The same for synchronous tests."""
        before = len(self._traces)
        result = flow.run(*args, **kwargs)
        self._compare(result, before)
        return result

    def _compare(self, result: Any, before: int) -> None:
        seen = {
            "result": snapshot(result, Any, secrets()),
            "trace": nested(self._traces.records[before:]),
        }
        if not self._golden == seen:
            raise AssertionError(_difference(list(self._golden.executions.values())[-1]))


def _difference(result: Any) -> str:
    """Say how a flow differs from its golden file, for people."""
    if result.exception is not None:
        return f"this golden flow cannot be compared: {result.exception}"
    if result.recalled_data is None:
        return "this golden flow is not recorded.\n  Record it with pytest --stratum-record."
    from pytest_stratum.flow_diff import flow_changes

    changes = flow_changes(str(result.recalled_data), str(result.asserted_data or ""))
    return "\n".join(["the golden flow went another way:", *(f"  {line}" for line in changes)])
