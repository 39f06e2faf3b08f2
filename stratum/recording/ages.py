"""Tell which recorded calls are older than the project allows."""

from datetime import UTC, date, datetime

from stratum.recording.golden import Sample
from stratum.settings import Settings


def oldest_day(settings: Settings) -> str | None:
    """Return the first day that is not too old, as ISO text; None when age does not count."""
    if settings.max_age is None:
        return None
    return date.fromordinal(max(1, _today().toordinal() - settings.max_age)).isoformat()


def today() -> str:
    """Return the day that a call recorded now is of."""
    return _today().isoformat()


def is_stale(sample: Sample, oldest: str | None) -> bool:
    """Say whether a recorded call is from before a day.

    One without a day is; what a person wrote into it is not, for a model would not bring it
    back, and so is no call that never had an answer.
    """
    if oldest is None or sample.entry.get("edited") is True or "reply" not in sample.entry:
        return False
    return str(sample.entry.get("recorded_on", "")) < oldest


def _today() -> date:
    return datetime.now(UTC).date()
