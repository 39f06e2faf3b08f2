"""Make pytest's own reports fit to be shown.

A failing assertion shows values as they are: with secrets of the input, and with control
characters of a recorded reply, or what a CI system takes for a command.
"""

import re
from collections.abc import Callable
from typing import Any

from stratum.scope import secrets
from stratum.text import disarm, escape_lines

_COLOUR = re.compile(r"(\x1b\[[\d;]*m)")


def hide(report: Any, *, coloured: bool) -> None:
    """Replace secrets in a report and its captured output, and escape control characters.

    Colours stay in a report that is `coloured`; captured output keeps what the test printed.
    """
    hidden = secrets()

    def fit(text: str) -> str:
        return _steady(hidden.scrub(text), coloured=coloured)

    if report.longrepr is not None:
        report.longrepr = _changed(report.longrepr, fit)
    if hidden:
        report.sections = _changed(report.sections, hidden.scrub)


def _steady(text: str, *, coloured: bool) -> str:
    text = disarm(text)
    if text.isprintable():
        return text
    parts = _COLOUR.split(text) if coloured else [text]
    return "".join(part if at % 2 else _escaped(part) for at, part in enumerate(parts))


def _escaped(text: str) -> str:
    return "\t".join(map(escape_lines, text.split("\t")))


def _changed(shown: Any, change: Callable[[str], str]) -> Any:
    """Return what a report shows with every text changed; pytest's own parts are changed in place.

    They are nested objects of `_pytest._code.code`, whose attributes are texts and lists.
    """
    if isinstance(shown, str):
        return change(shown)
    if isinstance(shown, (list, tuple)):
        return type(shown)(_changed(each, change) for each in shown)
    if type(shown).__module__.startswith("_pytest."):
        for name, value in vars(shown).items():
            setattr(shown, name, _changed(value, change))
    return shown
