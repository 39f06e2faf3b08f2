"""Say which answers agree."""

import ast
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from pydantic_core import to_jsonable_python

from stratum.analysis import calls_infer
from stratum.attributes import Lacking, Types, Values
from stratum.contracts import Contract
from stratum.errors import ConditionError, DeclarationError
from stratum.hashing import canonical, jsonable
from stratum.lambdas import lambda_of
from stratum.opacity import has_opaque, hides, repeats, veil
from stratum.text import escape, meant, truncate

On: TypeAlias = str | Sequence[str] | Callable[[Any], Any] | None

_LONGEST = 120  # characters of what a group agrees on, in a message


class Aspect:
    """What of answers is compared: all of them, some fields, or what a function makes of them.

    `text` says which, as in "on label"; it is empty for the whole answer. Answers agree when the
    JSON data of it is the same.
    """

    def __init__(
        self,
        where: str,
        contract: Contract | None,
        paths: tuple[str, ...] = (),
        function: Callable[[Any], Any] | None = None,
    ) -> None:
        self.text: str = _text_of(paths, function)
        self._where = where
        self._contract = contract
        self._annotation = contract.annotation if contract else Any
        self._paths = {path: tuple(path.split(".")) for path in paths}
        self._function = function

    def of(self, answer: Any) -> Any:
        """Return the JSON data that is compared; raises `ConditionError` where there is none."""
        if self._function is not None:
            return self._made(self._function, answer)
        if not self._paths:
            return self._contract.dump(answer) if self._contract else _data(answer)
        read = {path: _data(_read(answer, steps)) for path, steps in self._paths.items()}
        return read if len(read) > 1 else next(iter(read.values()))

    def shown(self, answer: Any) -> str:
        """Return what is compared as a text for people; opaque parts as their size."""
        data = self.of(answer)
        if has_opaque(self._annotation):
            data = self._veiled(answer, data)
        return truncate(escape(json.dumps(data, ensure_ascii=False, sort_keys=True)), _LONGEST)

    def _made(self, function: Callable[[Any], Any], answer: Any) -> Any:
        try:
            return _data(function(answer))
        except Exception as error:
            said = truncate(escape(f"{type(error).__name__}: {error}"), 300)
            raise ConditionError(
                f"{self._where} {self.text} raised {said}.\n"
                "  Make it return plain data, such as a text or a number, for every answer."
            ) from error

    def _veiled(self, answer: Any, data: Any) -> Any:
        hidden = "<opaque>"
        if self._function is not None:
            return hidden if repeats(self._annotation, answer, canonical(data)) else data
        if not self._paths:
            return veil(self._annotation, answer)
        shown = {
            path: hidden if hides(self._annotation, steps) else _data(_read(answer, steps))
            for path, steps in self._paths.items()
        }
        return shown if len(shown) > 1 else next(iter(shown.values()))


def aspect(on: On, contract: Contract | None, where: str) -> Aspect:
    """Return what is compared; raises `DeclarationError` for what answers do not have.

    >>> aspect("label", None, "agree_on").of({"label": "good", "why": "it shines"})
    'good'
    """
    if on is None:
        return Aspect(where, contract)
    if isinstance(on, str) or (isinstance(on, (list, tuple)) and on):
        paths = (on,) if isinstance(on, str) else tuple(on)
        for path in paths:
            _check_path(path, contract, where)
        return Aspect(where, contract, tuple(dict.fromkeys(paths)))
    if not callable(on) or isinstance(on, type):
        raise DeclarationError(
            f"{where}={on!r}; it takes a field's name, a list of names, or a function of the answer"
        )
    if inspect.iscoroutinefunction(on):
        raise DeclarationError(f"{where} is an async function, and it is not awaited; write a def")
    called = calls_infer(on)
    if called is not None:
        raise DeclarationError(
            f"{where} calls {called}, an @infer function, and it is not awaited.\n"
            "  Compare what the answers say: let the function return plain data of the answer."
        )
    return Aspect(where, contract, function=on)


def grouped(compared: Mapping[int, Any]) -> list[tuple[int, ...]]:
    """Return the numbers of those that agree, group by group, the largest first.

    Of groups of one size that with the lowest number stands first.

    >>> grouped({0: "a", 1: "b", 2: "b"})
    [(1, 2), (0,)]
    """
    found: dict[str, list[int]] = {}
    for number in sorted(compared):
        found.setdefault(canonical(compared[number]), []).append(number)
    return [tuple(each) for each in sorted(found.values(), key=lambda each: (-len(each), each[0]))]


def listed(groups: Iterable[tuple[str, int]], failures: Iterable[Exception]) -> str:
    """Return groups and failures as lines of a message."""
    lines = [f"  - {count} said {text}" for text, count in groups]
    said = (truncate(escape(f"{type(each).__name__}: {each}"), 300) for each in failures)
    return "\n".join([*lines, *(f"  - 1 failed: {text}" for text in said)])


def _check_path(path: Any, contract: Contract | None, where: str) -> None:
    if not isinstance(path, str) or not all(path.split(".")):
        raise DeclarationError(f'{where} lists {path!r}; name a field, such as "label" or "a.b"')
    if contract is None:
        return
    types = Types(contract.adapter)
    values = types.root
    for step in path.split("."):
        found = types.attribute(values, step)
        if isinstance(found, Lacking) and _has_items(values):
            found = types.item(values, step)
        if isinstance(found, Lacking):
            fields = ", ".join(found.fields) or "no fields: leave it out to compare all of it"
            raise DeclarationError(
                f"{where}={path!r}, but {found.owner} has no {step}{meant(step, found.fields)}.\n"
                f"  It has {fields}."
            )
        values = found


def _has_items(values: Values) -> bool:
    return any(each["type"] in ("dict", "typed-dict") for each in values or ())


def _read(value: Any, steps: tuple[str, ...]) -> Any:
    """Follow a path; None where an answer has nothing there."""
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else getattr(value, step, None)
    return value


def _data(value: Any) -> Any:
    try:
        return jsonable(value)
    except TypeError:  # bytes, addresses, int keys: pydantic knows their JSON
        return jsonable(to_jsonable_python(value))


def _text_of(paths: tuple[str, ...], function: Callable[[Any], Any] | None) -> str:
    if function is None:
        return ", ".join(paths)
    found = lambda_of(function)
    if found is not None:
        return ast.unparse(found.body)
    return str(getattr(function, "__qualname__", type(function).__qualname__))
