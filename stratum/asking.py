"""Check what a person is asked, and make the question of it."""

import dis
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeAlias, Union

from stratum.attempts import Question
from stratum.calls import Site
from stratum.checks import conditions
from stratum.contracts import Contract, Unreadable
from stratum.errors import DeclarationError
from stratum.hashing import canonical
from stratum.opacity import has_opaque, opaque
from stratum.prompts import template
from stratum.reviews import ReviewSink
from stratum.sink_client import HUMAN, is_among

Decide: TypeAlias = Callable[..., Any]  # takes the review and returns the decision, or a coroutine

_INSIDE = re.compile(r"(\.<locals>\.<(lambda|listcomp|setcomp|dictcomp|genexpr)>)+$")


class NoDefault(Enum):
    """Says that there is no default."""

    NO_DEFAULT = "no default"


@dataclass(frozen=True, slots=True)
class HumanReviewContext:
    """What a person is shown beside the question, by name.

    `opaque` values are shown to the person like the others; golden files and traces hold
    their sizes only. `guidance` says how to decide.

    >>> HumanReviewContext(show={"draft": "Dear Anna"}, guidance="Up to $100 is fine.").guidance
    'Up to $100 is fine.'
    """

    show: Mapping[str, Any] = field(default_factory=dict)
    opaque: Mapping[str, Any] = field(default_factory=dict)
    guidance: str | None = None


class Caller(NamedTuple):
    """Who asks: code, the place in it, and its module."""

    code: CodeType
    at: int
    line: int
    module: str

    @classmethod
    def of(cls, frame: FrameType) -> "Caller":
        module = str(frame.f_globals.get("__name__"))
        return cls(frame.f_code, frame.f_lasti, frame.f_lineno, module)

    @property
    def function(self) -> str:
        """The qualified name of the function, without comprehensions and lambdas in it."""
        return _INSIDE.sub("", self.code.co_qualname)

    def tells_apart(self, question: str) -> Any:
        """Return what sets a question of this function apart from its others.

        One that is written out is known by its position, so that a changed wording is drift;
        one that is put together belongs to the inputs.
        """
        if not _has(self.code.co_consts, question):
            return question
        names = (i for i in dis.get_instructions(self.code) if i.argval == "await_human")
        return sum(1 for name in names if name.offset <= self.at)


def _has(constants: tuple[Any, ...], text: str) -> bool:
    """Say whether a text is among constants; Python 3.13 joins some into tuples."""
    return any(_has(c, text) if isinstance(c, tuple) else c == text for c in constants)


@dataclass(frozen=True, slots=True)
class Asked:
    """One `await_human`, checked."""

    caller: Caller
    question: Question
    context: HumanReviewContext
    values: Mapping[str, Any]
    timeout: float | None
    default: Any = NoDefault.NO_DEFAULT
    sink: ReviewSink | Decide | None = None

    @property
    def name(self) -> str:
        return self.question.site.function


def context_of(context: Any) -> HumanReviewContext:
    if context is None:
        return HumanReviewContext()
    if isinstance(context, Mapping):
        context = HumanReviewContext(show=context)
    if not isinstance(context, HumanReviewContext):
        raise DeclarationError(
            f"await_human(context={context!r}): it takes values by name, such as "
            '{"draft": draft}, or HumanReviewContext(show={...}, guidance=...)'
        )
    both = sorted(context.show.keys() & context.opaque.keys())
    if both:
        raise DeclarationError(f"await_human(context=...) has {both[0]!r} both in show and opaque")
    return context


def asked_of(
    caller: Caller,
    question: Any,
    decision: Any,
    context: HumanReviewContext,
    options: Sequence[Any] | None,
    timeout: Any,
) -> Asked:
    name = caller.function
    where = f"{name}: await_human"
    if not isinstance(question, str) or not question.strip():
        raise DeclarationError(f"{where}({question!r}); ask in words what is to be decided")
    _check_timeout(where, timeout)
    contract = Contract.of(decision, where=where)
    annotations = {key: _annotation_of(value) for key, value in context.show.items()}
    annotations |= dict.fromkeys(context.opaque, opaque[Any])  # type: ignore[misc]
    params: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    asked = Question(
        site=_site(caller, question, context.guidance),
        contract=contract,
        template=template(
            function=where, intent=question, context=context.guidance, annotations=annotations
        ),
        annotations=annotations,
        returns=decision,
        retries=0,
        model=HUMAN,
        params=params,
    )
    values = {**context.show, **context.opaque}
    found = Asked(caller, asked, context, values, timeout)
    return found if options is None else _limited(found, options)


def _site(caller: Caller, question: str, guidance: str | None) -> Site:
    return Site(
        file=caller.code.co_filename,
        module=caller.module,
        function=caller.function,
        line=caller.line,
        intent=question,
        context=guidance,
    )


def _check_timeout(where: str, timeout: Any) -> None:
    if timeout is None:
        return
    number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not number or not 0 < timeout < float("inf"):
        raise DeclarationError(f"{where}(timeout={timeout!r}); it takes seconds, more than 0")


def _limited(asked: Asked, options: Sequence[Any]) -> Asked:
    """Hold the decision to the options; they are part of the key."""
    if isinstance(options, str) or not isinstance(options, Sequence) or not options:
        raise DeclarationError(
            f"{asked.name}: await_human(options={options!r}); it takes a list of decisions"
        )
    listed = [fitting(asked, "options", option) for option in options]
    contract = asked.question.contract
    message = f"choose one of {', '.join(map(canonical, listed))}"

    def is_option(value: Any) -> bool:
        return is_among(contract.dump(value), listed)

    question = replace(
        asked.question,
        params={**asked.question.params, "options": listed},
        ensure=conditions((message, is_option), kind="ensure", function=asked.name, parameters=()),
    )
    return replace(asked, question=question)


def fitting(asked: Asked, setting: str, value: Any) -> Any:
    """Return a value that the caller gives as JSON data; refuses one that nobody may decide."""
    contract = asked.question.contract
    where = f"{asked.name}: await_human({setting}=...)"
    try:
        data = contract.dump(contract.read(contract.dump(value)))
    except (Unreadable, TypeError, ValueError) as error:
        said = "; ".join(error.problems) if isinstance(error, Unreadable) else str(error)
        raise DeclarationError(
            f"{where} has {value!r}, which is no {contract.name}: {said}"
        ) from None
    options = asked.question.params.get("options")
    if options is not None and not is_among(data, options):
        raise DeclarationError(f"{where} has {value!r}, which is none of the options")
    return data


def _annotation_of(value: Any) -> Any:
    """Return an annotation by which opaque fields of a value's classes are found; else Any."""
    if isinstance(value, Mapping):
        inner = _union(value.values())
        return Any if inner is Any else dict[str, inner]  # type: ignore[valid-type]
    if isinstance(value, (list, tuple, set, frozenset)):
        inner = _union(value)
        return Any if inner is Any else list[inner]  # type: ignore[valid-type]
    return type(value) if has_opaque(type(value)) else Any


def _union(values: Any) -> Any:
    hints = [(_annotation_of(value), type(value)) for value in values]
    if all(hint is Any for hint, _ in hints):
        return Any
    members = dict.fromkeys(kind if hint is Any else hint for hint, kind in hints)
    return Union[tuple(members)]  # noqa: UP007
