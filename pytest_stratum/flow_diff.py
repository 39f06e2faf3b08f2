"""Say how a golden flow changed: steps added, removed, moved, and what changed in them."""

from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

import yaml
from yaml.composer import ComposerError

from stratum.hashing import canonical
from stratum.text import diff_lines, escape, truncate

WIDEST = 160


def flow_changes(before: str, after: str) -> list[str]:
    """Return one line for each change between two golden flows in YAML.

    What is no golden flow, because a person or an attacker wrote it, is compared as text.
    """
    old, new = _loaded(before), _loaded(after)
    try:
        found = list(_changes(old, new)) if _is_flow(old) and _is_flow(new) else []
    except (TypeError, ValueError, RecursionError):
        found = []
    lines = found or diff_lines(before, after)
    return [truncate(escape(line), WIDEST) for line in lines]


def _loaded(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError, OverflowError):
        return None


class _Loader(yaml.SafeLoader):
    """Reads plain YAML without references: nine lines of them can stand for a billion values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ComposerError(None, None, "a reference", None)
        return super().compose_node(parent, index)


def _is_flow(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("trace"), list)


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    yield from _steps(old["trace"], new["trace"], "")
    for name in sorted({*old, *new} - {"trace"}):
        if old.get(name) != new.get(name):
            yield f"~ {name}: {_short(old.get(name))} -> {_short(new.get(name))}"


def _steps(old: list[Any], new: list[Any], path: str) -> Iterator[str]:
    names_old, names_new = [_name(step) for step in old], [_name(step) for step in new]
    if names_old != names_new and Counter(names_old) == Counter(names_new):
        order = f"{', '.join(names_old)} -> {', '.join(names_new)}"
        yield f"~ {path.removesuffix(' > ') or 'flow'}: steps reordered: {order}"
        return
    matcher = SequenceMatcher(None, names_old, names_new, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            for one, other in zip(old[a:b], new[c:d], strict=True):
                yield from _step(one, other, f"{path}{_name(one)}")
            continue
        yield from (f"- step {path}{name}" for name in names_old[a:b])
        yield from (f"+ step {path}{name}" for name in names_new[c:d])


def _step(old: Any, new: Any, path: str) -> Iterator[str]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return
    for name in sorted({*old, *new} - {"steps", "function"}):
        if old.get(name) != new.get(name):
            yield f"~ {path}: {name}: {_short(old.get(name))} -> {_short(new.get(name))}"
    yield from _steps(old.get("steps") or [], new.get("steps") or [], f"{path} > ")


def _name(step: Any) -> str:
    return str(step.get("function")) if isinstance(step, dict) else str(step)


def _short(value: Any) -> str:
    return truncate(canonical(value), 60) if value is not None else "(none)"
