"""Say what to ask next: a call's attempts, without I/O."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from stratum.calls import CacheScope, Reply, Request, Site, Wire, call_key, keyed
from stratum.checks import Condition, violations
from stratum.contracts import Contract, Unreadable
from stratum.errors import (
    ConditionError,
    ContractViolated,
    CutOff,
    PostconditionFailed,
    PreconditionFailed,
    Refused,
    StratumError,
)
from stratum.opacity import hides
from stratum.prompts import Prompt, Template, inputs_digest
from stratum.redact import Secrets
from stratum.text import escape, truncate


@dataclass(frozen=True, slots=True)
class Question:
    """What one `@infer` function asks, whatever its inputs are."""

    site: Site
    contract: Contract
    template: Template
    annotations: Mapping[str, Any]
    returns: Any
    given: tuple[Condition, ...] = ()
    ensure: tuple[Condition, ...] = ()
    retries: int = 2
    model: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    wire: Wire = "auto"
    cache: CacheScope = "none"


@dataclass(frozen=True, slots=True)
class Ask:
    """The next request of a call, with what is needed to judge its reply."""

    question: Question
    values: Mapping[str, Any]
    secrets: Secrets
    request: Request


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a call: its value, or the error to raise."""

    value: Any = None
    error: StratumError | None = None
    violations: tuple[str, ...] = ()


def begin(question: Question, values: Mapping[str, Any], *, model: str, secrets: Secrets) -> Ask:
    """Compile the first request for bound inputs.

    Raises `PreconditionFailed` when a `given` condition does not hold and `InputError` when
    an input has no deterministic text; nothing is sent then.
    """
    _check_given(question, values, secrets)
    prompt = question.template.compile(values)
    digest_inputs = partial(inputs_digest, question.site.function, values, secrets)
    request = _request(question, prompt, model, secrets, digest_inputs, attempt=0)
    return Ask(question, values, secrets, request)


def judge(ask: Ask, reply: Reply) -> "Ask | Settled":
    """Say what a reply means: the call has settled, or this is asked next."""
    name = ask.question.site.function
    if reply.outcome == "refused":
        return Settled(error=Refused(f"{name}: the model declined to answer: {_said(ask, reply)}"))
    if reply.outcome == "cut":
        return Settled(error=_cut(ask))
    try:
        value = ask.question.contract.read(reply.data)
    except Unreadable as unreadable:
        return _again(ask, reply, tuple(f"contract: {p}" for p in unreadable.problems))
    try:
        problems = _broken(ask, value)
    except ConditionError as error:
        return Settled(error=error)
    return _again(ask, reply, problems, PostconditionFailed) if problems else Settled(value)


def _again(
    ask: Ask,
    reply: Reply,
    problems: tuple[str, ...],
    error: type[PostconditionFailed] | type[ContractViolated] = ContractViolated,
) -> Ask | Settled:
    """Ask again with what was wrong, or give up when the retries are spent."""
    last = ask.request
    if last.attempt >= ask.question.retries:
        name = ask.question.site.function
        shown = tuple(map(ask.secrets.scrub, problems))
        return Settled(error=error(name, last.attempt + 1, shown), violations=shown)
    prompt = last.prompt.again(reply.data, problems)
    request = _request(
        ask.question,
        prompt,
        last.model,
        ask.secrets,
        last.digest_inputs,
        attempt=last.attempt + 1,
    )
    return replace(ask, request=request)


def _request(
    question: Question,
    prompt: Prompt,
    model: str,
    secrets: Secrets,
    digest_inputs: Callable[[], str],
    *,
    attempt: int,
) -> Request:
    shown = prompt.redacted(secrets)
    prompt_hash = shown.hash
    settings = secrets.redact_data(keyed(question.params))
    return Request(
        contract=question.contract,
        prompt=prompt,
        shown=shown,
        model=model,
        params=question.params,
        wire=question.wire,
        settings=settings,
        site=_shown_site(question.site, secrets),
        digest_inputs=digest_inputs,
        prompt_hash=prompt_hash,
        key=call_key(question.contract.hash, prompt_hash, model, settings, question.wire),
        attempt=attempt,
        cache=question.cache,
    )


def _shown_site(site: Site, secrets: Secrets) -> Site:
    """Return a site as it may be stored; itself when nothing is secret."""
    if not secrets:
        return site
    return replace(
        site,
        intent=secrets.redact(site.intent),
        context=site.context and secrets.redact(site.context),
        conditions=tuple(map(secrets.redact, site.conditions)),
    )


def _said(ask: Ask, reply: Reply) -> str:
    return truncate(escape(ask.secrets.scrub(str(reply.data))), 500)


def _check_given(question: Question, values: Mapping[str, Any], secrets: Secrets) -> None:
    if not question.given:
        return
    name = question.site.function
    found = violations(
        question.given,
        kind="given",
        function=name,
        values=values,
        hides=lambda parameter, path: hides(question.annotations[parameter], path),
        redact=secrets.scrub,
    )
    if found:
        raise PreconditionFailed(name, found)


def _broken(ask: Ask, value: Any) -> tuple[str, ...]:
    question = ask.question
    if not question.ensure:
        return ()

    def hidden(parameter: str, path: tuple[str, ...]) -> bool:
        return hides(question.annotations.get(parameter, question.returns), path)

    return violations(
        question.ensure,
        kind="ensure",
        function=question.site.function,
        values=ask.values,
        result=value,
        hides=hidden,
        redact=ask.secrets.redact,
    )


def _cut(ask: Ask) -> CutOff:
    request = ask.request
    declared = request.params.get("max_tokens")
    limit = f"max_tokens={declared}" if declared else "max_tokens"
    return CutOff(
        f"{request.site.function}: the answer ended at {limit} before it was whole.\n"
        "  Raise max_tokens (and the budget, if it lowered max_tokens), or ask for less."
    )
