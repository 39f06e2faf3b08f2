"""What every call leaves behind."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from stratum.calls import Origin, Place, Usage
from stratum.hashing import jsonable
from stratum.opacity import has_opaque, veil
from stratum.redact import Secrets
from stratum.values import dataclass

Kind = Literal[
    "infer",
    "compute",
    "flow",
    "human",
    "parallel",
    "race",
    "quorum",
    "samples",
    "refine",
    "debate",
    "adaptive",
]
Ending = Literal[
    "ok", "rejected", "refused", "cut", "over_budget", "cancelled", "input_error", "error"
]


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt of a call: its key, what was wrong with the answer, what it took.

    `cost_usd` is None when unknown; `seconds` is how long it took; `model` is who answered.
    """

    key: str
    violations: tuple[str, ...]
    usage: Usage
    cost_usd: float | None
    seconds: float
    origin: Origin
    model: str | None = None


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """One call, flow or step as it went, in plain data; nothing in it refers to live objects.

    `inputs` and `output` are JSON data with secrets replaced and opaque values as their
    size. `place` is where the call was made, `order` sorts the records of one parent; `outcome` is
    how it ended, `error` the text; `details` are what only its kind of step has.

    >>> from stratum import compute, traces
    >>> @compute
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> double(4)
    8
    >>> record = traces()[-1]
    >>> record.kind, record.outcome, dict(record.inputs), record.output
    ('compute', 'ok', {'n': 4}, 8)
    """

    id: str
    parent: str | None
    kind: Kind
    function: str
    start: datetime
    duration_ms: float
    outcome: Ending
    inputs: Mapping[str, Any]
    output: Any = None
    error: str | None = None
    place: Place | None = None
    order: tuple[int, ...] = ()
    model: str | None = None
    contract_hash: str | None = None
    compiled_prompt_hash: str | None = None
    calls: tuple[AttemptRecord, ...] = ()
    details: Mapping[str, Any] | None = None

    @property
    def attempts(self) -> int:
        return len(self.calls)

    @property
    def retry_reasons(self) -> tuple[str, ...]:
        return tuple(reason for call in self.calls[:-1] for reason in call.violations)

    @property
    def input_tokens(self) -> int:
        return sum(call.usage.input for call in self.calls)

    @property
    def output_tokens(self) -> int:
        return sum(call.usage.output for call in self.calls)

    @property
    def cost_usd(self) -> float | None:
        """The sum over the attempts; None when one of them is unknown."""
        costs = [call.cost_usd for call in self.calls]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    @property
    def origin(self) -> Origin | None:
        return self.calls[-1].origin if self.calls else None


def snapshot(value: Any, annotation: Any, secrets: Secrets) -> Any:
    """Return a value as a record keeps it: JSON data, or its type's name when it has none."""
    hides = secrets.known or secrets.patterns  # what bool() says, by a call
    if annotation is str and type(value) is str:
        return secrets.scrub(value) if hides else value
    try:
        data = veil(annotation, value) if has_opaque(annotation) else jsonable(value)
    except Exception:  # the value's own code may raise anything
        return f"<{type(value).__qualname__}>"
    return secrets.scrub_data(data) if hides else data


def nested(records: "tuple[TraceRecord, ...]") -> list[dict[str, Any]]:
    """Return records as a tree of plain data without what changes from run to run.

    Steps stand in the order they started in, those of a fan-out branch by branch.
    """
    known = {record.id for record in records}
    children: dict[str | None, list[TraceRecord]] = {}
    for record in records:
        parent = record.parent if record.parent in known else None
        children.setdefault(parent, []).append(record)
    return _branch(None, children)


def _branch(
    parent: str | None, children: Mapping[str | None, list[TraceRecord]]
) -> list[dict[str, Any]]:
    ordered = sorted(children.get(parent, ()), key=lambda record: record.order)
    return [_stable(record, _branch(record.id, children)) for record in ordered]


def _stable(record: TraceRecord, steps: list[dict[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {"function": record.function, "kind": record.kind}
    if record.model is not None:
        data["model"] = record.model
    data["inputs"] = dict(record.inputs)
    if record.outcome == "ok":
        data["output"] = record.output
    else:
        data |= {"outcome": record.outcome, "error": record.error}
    if record.attempts > 1:
        data |= {"attempts": record.attempts, "retry_reasons": list(record.retry_reasons)}
    if record.contract_hash:
        data |= {"contract": record.contract_hash[:12]}
    if record.details:
        data["details"] = dict(record.details)
    if steps:
        data["steps"] = steps
    return data
