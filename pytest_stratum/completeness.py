"""Say whether a run saw every test of the project."""

from collections.abc import Sequence
from dataclasses import field

import pytest

from stratum.settings import Settings
from stratum.values import dataclass


@dataclass(slots=True)
class Progress:
    """How far one process of a run came; `whole` says that no test was deselected.

    `used` are the positions of the recorded calls that a replay used, by golden file.
    """

    collected: int = 0
    ran: int = 0
    whole: bool = True
    failed: bool = False
    flows: list[str] = field(default_factory=list)
    used: dict[str, list[int]] = field(default_factory=dict)


def why_incomplete(
    config: pytest.Config, settings: Settings, processes: Sequence[Progress], *, crashed: bool
) -> str | None:
    """Return why the run is no complete one; None when every test ran, and passed."""
    collected = max((each.collected for each in processes), default=0)
    left = collected - sum(each.ran for each in processes)
    if crashed:
        return "a worker crashed"
    if any(each.failed for each in processes):
        return "a test failed"
    if not all(each.whole for each in processes) or not _selects_all(config, settings):
        return "not every test was selected"
    if left > 0 or not collected:
        return f"{left} of {collected} tests were skipped or did not run"
    return None


def _selects_all(config: pytest.Config, settings: Settings) -> bool:
    """Say whether the command line leaves no test of the project out."""
    root = config.rootpath.resolve()
    if any(config.getoption(name, None) for name in ("lf", "ignore", "ignore_glob")):
        return False
    if not settings.root.resolve().is_relative_to(root):
        return False
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        return True
    start = config.invocation_params.dir
    return [(start / arg).resolve() for arg in config.args] == [root]
