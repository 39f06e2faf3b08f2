"""Say why a call is not as it was recorded."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from stratum.calls import Request
from stratum.hashing import digest, short
from stratum.prompts import Revision
from stratum.recording.ages import is_stale
from stratum.recording.golden import FunctionFile, Recordings, Sample, source_of
from stratum.roots import Root
from stratum.schema_diff import difference
from stratum.text import diff_lines, escape, truncate
from stratum.values import dataclass

Kind = Literal[
    "contract",
    "prompt",
    "condition",
    "model",
    "params",
    "flow",
    "missing",
    "orphaned",
    "stale",
    "corrupt",
]

Instructions: TypeAlias = Mapping[str, Any]

ALIKE = 0.5  # the part of its words that a changed prompt shares with the recorded one
WIDEST = 200  # characters of a line in a report

_DATE_LIKE = (
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?"
    r"|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b\d{1,2}:\d\d(:\d\d)?\b|\b1[5-9]\d{8}(\.\d+)?\b"
)


@dataclass(frozen=True, slots=True)
class Drift:
    """One cause of drift: what changed, of which function, and the difference in lines.

    Two of the same `cause` are the same change, however many tests meet it, and, of a model,
    parameters or a contract, however many functions it is of. `file` is below the root.
    """

    kind: Kind
    function: str
    file: str
    line: int
    title: str
    lines: tuple[str, ...] = ()

    @property
    def cause(self) -> str:
        change = [self.kind, self.title, list(self.lines)]
        if self.kind in _OF_MANY and self.lines:
            return digest(change)
        return digest([*change, self.function, self.file])

    @property
    def where(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"

    @property
    def text(self) -> str:
        head = f"{self.kind} drift in {self.where}: {self.title}"
        return "\n".join([head, *(f"    {line}" for line in self.lines)])


_OF_MANY = ("contract", "model", "params")  # what functions share


def by_cause(drifts: Iterable[Drift]) -> list[list[Drift]]:
    """Return drifts in groups of the same cause, both in the order they come in."""
    groups: dict[str, list[Drift]] = {}
    for drift in drifts:
        groups.setdefault(drift.cause, []).append(drift)
    return list(groups.values())


def explain(
    request: Request, recordings: Recordings, root: Root, oldest: str | None = None
) -> tuple[Drift, ...]:
    """Return the causes for which a request met no recording; at least one.

    What was recorded before the day `oldest` did not answer for its age.
    """
    site = request.site
    report = DriftReport(site.function, source_of(site, recordings.root), site.line)
    file = _file_of(request, recordings)
    if file is None:
        return (report.drift("missing", "nothing is recorded of this function"),)
    home = recordings.home_of(request.site)
    same_key = [s for s in recordings.of_key(request.key, home) if s.outcome != "unsent"]
    if same_key and all(is_stale(sample, oldest) for sample in same_key):
        return (report.drift("stale", "its answer is older than max_age allows"),)
    if same_key:
        return (_elsewhere(report, request, same_key, root),)
    sample = _nearest(request, file)
    if is_direct(request.instructions):
        return tuple(_changed_messages(report, request, file, sample)) or (
            report.drift("missing", "these messages are not recorded"),
        )
    if sample is None:
        return tuple(_other_inputs(report, request, file))
    return tuple(_changes(report, request, file, sample)) or (
        report.drift("missing", "this attempt is not recorded"),
    )


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Makes the drifts of one function."""

    function: str
    file: str
    line: int

    def drift(self, kind: Kind, title: str, lines: Sequence[str] = ()) -> Drift:
        shown = tuple(truncate(escape(line), WIDEST) for line in lines)
        return Drift(kind, self.function, self.file, self.line, escape(title), shown)

    def contract(self, before: Any, now: Any) -> Drift:
        return self.drift("contract", "the answer's contract changed", difference(before, now))

    def wording(self, before: Instructions, now: Instructions) -> Iterator[Drift]:
        """Yield what changed in the text that tells the model what to do."""
        for name in ("intent", "context"):
            if before.get(name) != now.get(name):
                lines = diff_lines(before.get(name) or "", now.get(name) or "")
                yield self.drift("prompt", f"its {name} changed", lines)

    def settings(self, before: Instructions, now: Instructions) -> Iterator[Drift]:
        """Yield what changed in the model and its parameters."""
        if before.get("model") != now.get("model"):
            models = [f"- {before.get('model')}", f"+ {now.get('model')}"]
            yield self.drift("model", "the model changed", models)
        old = {**(before.get("params") or {}), "wire": before.get("wire")}
        new = {**(now.get("params") or {}), "wire": now.get("wire")}
        changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
        if changed:
            lines = [f"~ {name}: {_word(old, name)} -> {_word(new, name)}" for name in changed]
            yield self.drift("params", "the parameters changed", lines)

    def conditions(self, before: Instructions, now: Instructions) -> Iterator[Drift]:
        if before.get("conditions") != now.get("conditions"):
            lines = diff_lines(before.get("conditions") or [], now.get("conditions") or [])
            yield self.drift("condition", "the conditions changed", lines)


def _file_of(request: Request, recordings: Recordings) -> FunctionFile | None:
    """Return the function's file; for one that moved, a file of the same function name."""
    own = recordings.files.get(recordings.home_of(request.site))
    if own is not None:
        return own
    name = request.site.function
    return next((f for f in recordings.files.values() if f.function == name), None)


def _elsewhere(report: DriftReport, request: Request, samples: list[Sample], root: Root) -> Drift:
    place = request.place
    limit = next(filter(None, (_limit_of(sample) for sample in samples)), None)
    if limit is not None:
        if limit == "cancelled":
            limit = "cancelled (it lost a race, or its time was up), so without an answer"
        return report.drift("missing", f"recorded as {limit}, which it no longer has to be")
    handed = all(id(sample) in root.handed for sample in samples)
    if handed and len(samples) == 1:
        title = "the same call is recorded once, and this test has used that answer already"
    else:
        listed = sorted({p for sample in samples for p in sample.places})
        title = f"recorded at the places {', '.join(listed) or 'of other tests'}, asked at {place}"
    return report.drift("missing", title)


def _limit_of(sample: Sample) -> str | None:
    """Say which limit ended the recorded call before it had a whole answer."""
    match sample.outcome:
        case "timeout":
            return f"out of time under ms={sample.entry.get('ms')}"
        case "cut" if "cap" in sample.entry:
            return f"cut off at the {sample.entry['cap']} output tokens that its budget left"
        case "cancelled":
            return "cancelled"
        case "expired":
            limit = sample.entry.get("wire", {}).get("timeout")
            return f"undecided within timeout={limit}"
    return None


def _nearest(request: Request, file: FunctionFile) -> Sample | None:
    """Return the recorded attempt with the same inputs: at the same place, else any."""
    inputs, place = request.inputs[:16], str(request.place)
    same = [s for s in file.samples if s.entry["inputs"] == inputs and s.outcome != "unsent"]
    same = [s for s in same if s.attempt == request.attempt] or same
    turn = request.shown.revision.turn if request.shown.revision else 0
    same = [s for s in same if s.turn == turn] or same
    settings = {"model": request.model, "params": request.instructions["params"]}

    def distance(sample: Sample) -> tuple[bool, bool]:
        known = file.instructions_of(sample)
        differs = any(known.get(name) != value for name, value in settings.items())
        return differs, place not in sample.places

    return min(same, key=distance, default=None)


def _other_inputs(report: DriftReport, request: Request, file: FunctionFile) -> Iterator[Drift]:
    lines = request.shown.lines()
    masked = _masked(lines)
    for sample in file.samples:
        recorded = sample.entry.get("prompt")
        if isinstance(recorded, list) and _masked(recorded) == masked:
            title = "only a date-like part of the inputs differs; take dates from stratum.now()"
            yield report.drift("prompt", title, diff_lines(recorded, lines, context=0))
            return
    current = [s for s in file.samples if s.entry["contract"] == short(request.contract.hash)]
    if not current and file.samples:
        yield from _changes(report, request, file, file.samples[0])
        return
    yield report.drift("missing", "these inputs are not recorded")


def is_direct(instructions: Instructions) -> bool:
    """Say whether a wrapped call was recorded, whose messages are all that it has."""
    return instructions.get("wire") == "direct"


def _changed_messages(
    report: DriftReport, request: Request, file: FunctionFile, sample: Sample | None
) -> Iterator[Drift]:
    """Yield what differs from the recorded call with the same messages, else the most alike."""
    lines = request.shown.lines()
    near = sample or _most_alike(lines, file)
    if near is None:
        return
    before, recorded = file.instructions_of(near), near.entry.get("prompt", [])
    if near.entry["contract"] != short(request.contract.hash):
        yield report.contract(file.schema_of(near) or {}, request.contract.schema)
    yield from report.settings(before, request.instructions)
    if _masked(recorded) == _masked(lines) and recorded != lines:
        title = "only a date-like part of the messages differs; take dates from stratum.now()"
        yield report.drift("prompt", title, diff_lines(recorded, lines, context=0))
    elif recorded != lines:
        title = "the messages changed"
        yield report.drift("prompt", title, diff_lines(recorded, lines, context=0))


def _most_alike(lines: Sequence[str], file: FunctionFile) -> Sample | None:
    """Return the recorded call that shares most words, at least half; the only one in any case."""
    words = Counter(" ".join(lines).split())
    shared = {
        id(sample): (words & other).total() / max(words.total(), other.total(), 1)
        for sample in file.samples
        if (other := Counter(" ".join(map(str, sample.entry.get("prompt", ()))).split()))
    }
    found = [sample for sample in file.samples if id(sample) in shared]
    best = max(found, key=lambda sample: shared[id(sample)], default=None)
    return best if best and (len(found) == 1 or shared[id(best)] >= ALIKE) else None


def _masked(lines: list[Any]) -> list[str]:
    return [re.sub(_DATE_LIKE, "<date>", str(line)) for line in lines]


def _changes(
    report: DriftReport, request: Request, file: FunctionFile, sample: Sample
) -> Iterator[Drift]:
    """Yield each thing that differs from what was recorded."""
    before, now = file.instructions_of(sample), request.instructions
    if sample.entry["contract"] != short(request.contract.hash):
        yield report.contract(file.schema_of(sample) or {}, request.contract.schema)
    wording = tuple(report.wording(before, now))
    yield from wording
    yield from report.settings(before, now)
    if request.attempt == 0 and not wording:
        yield from _changed_text(report, request, sample)
    if request.shown.revision is not None and "revision" in sample.entry:
        yield from _changed_revision(report, request.shown.revision, sample)
    if request.shown.turn is not None:
        yield from _changed_retry(report, request.shown.turn.violations, sample, before, now)


def _word(params: Mapping[str, Any], name: str) -> str:
    return repr(params[name]) if params.get(name) is not None else "(not set)"


def _changed_text(report: DriftReport, request: Request, sample: Sample) -> Iterator[Drift]:
    recorded = sample.entry.get("prompt")
    if not isinstance(recorded, list):
        return
    recorded, now = [str(line) for line in recorded], request.shown.lines()
    if recorded in (now, request.shown.lines(store_opaque=True)):
        return
    title = "the same inputs are put into other words"
    yield report.drift("prompt", title, diff_lines(recorded, now))


def _changed_revision(report: DriftReport, revision: Revision, sample: Sample) -> Iterator[Drift]:
    recorded, now = [str(line) for line in sample.entry["revision"]], revision.text.split("\n")
    if recorded != now:
        title = "a turn of @refine tells the model something else"
        yield report.drift("condition", title, diff_lines(recorded, now))


def _changed_retry(
    report: DriftReport,
    violations: Sequence[str],
    sample: Sample,
    before: Instructions,
    now: Instructions,
) -> Iterator[Drift]:
    recorded = [str(line) for line in sample.entry.get("retry", ())]
    if recorded == list(violations):
        yield from report.conditions(before, now)
        return
    title = "the retry tells the model something else"
    yield report.drift("condition", title, diff_lines(recorded, list(violations)))
