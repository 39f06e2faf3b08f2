"""Time, ids and randomness that are the same on every run."""

import itertools
import uuid
from datetime import datetime

from stratum.hashing import digest
from stratum.scope import current


class FixedClock:
    """Time, ids and randomness that are the same on every run, from place and count alone."""

    is_fixed = True

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._counts: dict[object, itertools.count[int]] = {}

    def now(self) -> datetime:
        return self._now

    def new_id(self) -> str:
        return str(uuid.UUID(self._draw("id")[:32], version=4))

    def random(self) -> float:
        return int(self._draw("random")[:13], 16) / 16**13

    def _draw(self, purpose: str) -> str:
        indices = current().branch.here().indices
        count = self._counts.setdefault((indices, purpose), itertools.count())
        return digest([purpose, list(indices), next(count)])
