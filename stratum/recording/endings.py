"""Say whether a call that ended without a whole answer would end so again."""

from typing import Any

from stratum.budget import Ledger
from stratum.calls import Request
from stratum.recording.golden import Sample
from stratum.roots import Inside


def holds(request: Request, inside: Inside, sample: Sample) -> bool:
    """Say whether the limit that ended the recorded call still stands; True when none did.

    A call that timed out, or was cut off because a budget lowered max_tokens, may be
    answered under a larger budget: the recording does not outlive the limit.
    """
    if sample.outcome == "answered":
        return True
    if sample.outcome == "timeout":
        return late_ledger(sample, inside) is not None
    if sample.outcome == "expired":
        return _no_longer(request, sample.entry.get("wire", {}).get("timeout"))
    cap = sample.entry.get("cap")
    if sample.outcome == "cut" and isinstance(cap, int):
        return request.cap is not None and request.cap <= cap
    return True


def _no_longer(request: Request, recorded: Any) -> bool:
    """Say whether a person has no more time to decide than nobody decided in."""
    limit = request.params.get("timeout")
    return limit is not None and isinstance(recorded, (int, float)) and limit <= recorded


def late_ledger(sample: Sample, inside: Inside) -> Ledger | None:
    """Return the ledger whose time ran out in the recorded call, unless it has more now."""
    chain = list(inside.ledger.chain()) if inside.ledger else []
    depth, recorded = sample.entry.get("expired"), sample.entry.get("ms")
    if not isinstance(depth, int) or not isinstance(recorded, (int, float)):
        return None
    ms = chain[depth].budget.ms if 0 <= depth < len(chain) else None
    return chain[depth] if ms is not None and ms <= recorded else None
