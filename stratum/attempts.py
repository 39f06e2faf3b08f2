"""Say what to ask next: a call's attempts, without I/O."""

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from functools import partial
from typing import Any

from stratum.calls import CacheScope, Place, Reply, Request, Site, Wire, keyed, keys_of
from stratum.checks import Condition, violations
from stratum.contracts import Contract, Unreadable
from stratum.errors import (
    ConditionError,
    ContractViolated,
    CutOff,
    HumanTimeout,
    PostconditionFailed,
    PreconditionFailed,
    Refused,
    StratumError,
)
from stratum.opacity import hides
from stratum.prompts import Prompt, Revision, Template, inputs_digest
from stratum.redact import Secrets
from stratum.text import escape, truncate
from stratum.values import dataclass, maker

_request = maker(Request)


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
    fallbacks: tuple[str, ...] = ()
    known: "list[_Common]" = field(default_factory=list, init=False, repr=False, compare=False)

    def common(self, model: str, secrets: Secrets) -> "_Common":
        """Return what all requests to a model share; made again when the secrets change."""
        for common in self.known:
            if common.model == model and common.secrets is secrets:
                return common
        common = _common(self, model, secrets)
        self.known[:] = [common] if _is_fixed(common.settings) else []
        return common


@dataclass(frozen=True, slots=True)
class _Common:
    """What the requests of a question share, secrets replaced."""

    model: str
    secrets: Secrets
    hides: bool  # whether there are secrets
    site: Site
    system: str
    settings: Mapping[str, Any]
    key: Callable[[str], str]  # of a prompt's hash


def _common(question: Question, model: str, secrets: Secrets) -> _Common:
    settings = secrets.redact_data(keyed(question.params))
    return _Common(
        model,
        secrets,
        bool(secrets),
        _shown_site(question.site, secrets),
        secrets.redact(question.template.system),
        settings,
        keys_of(question.contract.hash, model, settings, question.wire),
    )


def _is_fixed(params: Mapping[str, Any]) -> bool:
    """Say whether nobody can change the parameters' values, as they could those of a list."""
    return all(value is None or isinstance(value, (str, int, float)) for value in params.values())


@dataclass(frozen=True, slots=True)
class Ask:
    """The next request of a call, with what is needed to judge its reply.

    `shown` is the prompt with secrets replaced, `prompt_hash` its hash.
    """

    question: Question
    values: Mapping[str, Any]
    common: _Common
    digest_inputs: Callable[[], str]
    attempt: int
    prompt: Prompt
    shown: Prompt
    prompt_hash: str
    key: str

    @property
    def request(self) -> Request:
        """The request without a place, as one that is answered from a cache."""
        return self.at(None)

    def at(self, place: Place | None, ambiguous: bool = False) -> Request:
        """Return the request made at a place, which others may have taken for the same call."""
        question, common = self.question, self.common
        return _request(
            question.contract,
            self.prompt,
            self.shown,
            common.model,
            question.params,
            question.wire,
            common.site,
            self.digest_inputs,
            self.prompt_hash,
            self.key,
            self.attempt,
            place,
            ambiguous,
            None,
            question.cache,
            common.settings,
            question.fallbacks,
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a call: its value, or the error to raise."""

    value: Any = None
    error: StratumError | None = None
    violations: tuple[str, ...] = ()


_asked = maker(Ask)
_settled = maker(Settled)


def begin(
    question: Question,
    values: Mapping[str, Any],
    *,
    model: str,
    secrets: Secrets,
    revision: Revision | None = None,
) -> Ask:
    """Compile the first request for bound inputs; a `revision` makes it a later turn of `@refine`.

    Raises `PreconditionFailed` when a `given` condition does not hold and `InputError` when
    an input has no deterministic text; nothing is sent then.
    """
    if question.given:
        _check_given(question, values, secrets)
    prompt = question.template.compile(values)
    if revision is not None:
        prompt = replace(prompt, revision=revision)
    digest_inputs = partial(inputs_digest, question.site.function, values, secrets)
    return _ask(question, values, question.common(model, secrets), digest_inputs, 0, prompt)


def judge(ask: Ask, reply: Reply) -> "Ask | Settled":
    """Say what a reply means: the call has settled, or this is asked next."""
    name = ask.question.site.function
    if reply.outcome == "refused":
        return Settled(error=Refused(f"{name}: the model declined to answer: {_said(ask, reply)}"))
    if reply.outcome == "cut":
        return Settled(error=_cut(ask))
    if reply.outcome == "expired":
        return Settled(error=_expired(ask))
    try:
        value = ask.question.contract.read(reply.data)
    except Unreadable as unreadable:
        return _again(ask, reply, tuple(f"contract: {p}" for p in unreadable.problems))
    try:
        problems = _broken(ask, value) if ask.question.ensure else ()
    except ConditionError as error:
        return Settled(error=error)
    return _again(ask, reply, problems, PostconditionFailed) if problems else _settled(value)


def _again(
    ask: Ask,
    reply: Reply,
    problems: tuple[str, ...],
    error: type[PostconditionFailed] | type[ContractViolated] = ContractViolated,
) -> Ask | Settled:
    """Ask again with what was wrong, or give up when the retries are spent."""
    question, secrets = ask.question, ask.common.secrets
    if ask.attempt >= question.retries:
        shown = tuple(map(secrets.scrub, problems))
        name = question.site.function
        return Settled(error=error(name, ask.attempt + 1, shown), violations=shown)
    prompt = ask.prompt.again(reply.data, problems)
    common = question.common(ask.common.model, secrets)
    return _ask(question, ask.values, common, ask.digest_inputs, ask.attempt + 1, prompt)


def _ask(
    question: Question,
    values: Mapping[str, Any],
    common: _Common,
    digest_inputs: Callable[[], str],
    attempt: int,
    prompt: Prompt,
) -> Ask:
    shown = prompt.redacted(common.secrets, common.system) if common.hides else prompt
    prompt_hash = shown.hash
    key = common.key(prompt_hash)
    return _asked(question, values, common, digest_inputs, attempt, prompt, shown, prompt_hash, key)


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
    return truncate(escape(ask.common.secrets.scrub(str(reply.data))), 500)


def _check_given(question: Question, values: Mapping[str, Any], secrets: Secrets) -> None:
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

    def hidden(parameter: str, path: tuple[str, ...]) -> bool:
        return hides(question.annotations.get(parameter, question.returns), path)

    return violations(
        question.ensure,
        kind="ensure",
        function=question.site.function,
        values=ask.values,
        result=value,
        hides=hidden,
        redact=ask.common.secrets.redact,
    )


def _expired(ask: Ask) -> HumanTimeout:
    seconds = ask.request.params.get("timeout")
    limit = f"within {seconds:g} s" if isinstance(seconds, (int, float)) else "in time"
    asked = truncate(escape(ask.request.site.intent), 200)
    return HumanTimeout(
        f"{ask.request.site.function}: nobody decided {limit}: {asked}\n"
        "  Raise timeout, say what holds then (default=...), or ask where somebody looks "
        "(sink=...)."
    )


def _cut(ask: Ask) -> CutOff:
    declared = ask.question.params.get("max_tokens")
    limit = f"max_tokens={declared}" if declared else "max_tokens"
    return CutOff(
        f"{ask.question.site.function}: the answer ended at {limit} before it was whole.\n"
        "  Raise max_tokens (and the budget, if it lowered max_tokens), or ask for less."
    )
