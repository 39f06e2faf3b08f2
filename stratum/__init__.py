"""Typed LLM calls that are recorded once, replayed for ever, and explain their drift."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from stratum import scope as _scope
from stratum.budget import Budget
from stratum.calls import (
    Client,
    Exchange,
    Place,
    Quote,
    Reply,
    Request,
    Site,
    Usage,
)
from stratum.compute import compute
from stratum.contracts import Contract, contract
from stratum.errors import (
    AmbiguousPlace,
    AnswerRejected,
    AuthenticationFailed,
    BudgetExceeded,
    BudgetTooSmall,
    ConditionError,
    ConfigurationError,
    ContractViolated,
    ConvergenceFailure,
    CutOff,
    DeclarationError,
    HumanTimeout,
    InputError,
    InsufficientResults,
    NotAwaited,
    NotStable,
    PostconditionFailed,
    PreconditionFailed,
    ProviderError,
    QuorumFailed,
    RecordingCorrupt,
    RecordingError,
    RecordingMissing,
    Refused,
    ReviewError,
    SamplesAlike,
    SecretLeak,
    SequentialAwaits,
    StratumError,
    StratumWarning,
    UnpricedModel,
    UnpricedWarning,
    VarianceIgnored,
)
from stratum.flows import flow
from stratum.infer import infer
from stratum.opacity import opaque
from stratum.scope import carry, configure, new_id, now, random, traces, using
from stratum.settings import Settings
from stratum.trace import TraceRecord

if TYPE_CHECKING:
    from pydantic import Field

    from stratum.adapting import adaptive
    from stratum.asking import HumanReviewContext
    from stratum.clients.litellm import LiteLLMClient
    from stratum.clients.scripted import ScriptedClient
    from stratum.concurrency import parallel, race
    from stratum.debating import debate
    from stratum.direct.wrapping import wrap
    from stratum.fan_out import Failure, Success
    from stratum.human import HumanDecision, await_human
    from stratum.probabilistic import Probabilistic, SampleGroup
    from stratum.refining import refine
    from stratum.reviews import HumanAnswer, PendingReview, ReviewSink
    from stratum.sinks.calling import ScriptedSink
    from stratum.sinks.console import ConsoleSink
    from stratum.sinks.files import FileSink

__version__ = "0.1.0"

__all__ = [
    "AmbiguousPlace",
    "AnswerRejected",
    "AuthenticationFailed",
    "Budget",
    "BudgetExceeded",
    "BudgetTooSmall",
    "Client",
    "ConditionError",
    "ConfigurationError",
    "ConsoleSink",
    "Contract",
    "ContractViolated",
    "ConvergenceFailure",
    "CutOff",
    "DeclarationError",
    "Exchange",
    "Failure",
    "Field",
    "FileSink",
    "HumanAnswer",
    "HumanDecision",
    "HumanReviewContext",
    "HumanTimeout",
    "InputError",
    "InsufficientResults",
    "LiteLLMClient",
    "NotAwaited",
    "NotStable",
    "PendingReview",
    "Place",
    "PostconditionFailed",
    "PreconditionFailed",
    "Probabilistic",
    "ProviderError",
    "QuorumFailed",
    "Quote",
    "RecordingCorrupt",
    "RecordingError",
    "RecordingMissing",
    "Refused",
    "Reply",
    "Request",
    "ReviewError",
    "ReviewSink",
    "SampleGroup",
    "SamplesAlike",
    "ScriptedClient",
    "ScriptedSink",
    "SecretLeak",
    "SequentialAwaits",
    "Site",
    "StratumError",
    "StratumWarning",
    "Success",
    "TraceRecord",
    "UnpricedModel",
    "UnpricedWarning",
    "Usage",
    "VarianceIgnored",
    "adaptive",
    "await_human",
    "carry",
    "compute",
    "configure",
    "contract",
    "debate",
    "flow",
    "infer",
    "new_id",
    "now",
    "opaque",
    "parallel",
    "race",
    "random",
    "refine",
    "traces",
    "using",
    "wrap",
]


def _default_client(settings: Settings) -> Client:
    from stratum.clients.litellm import LiteLLMClient

    return LiteLLMClient(settings=settings)


def _make_sink(given: Any) -> "ReviewSink":
    from stratum.sinks import sink_of

    return sink_of(given)


_scope.process.default_client = _default_client
_scope.process.make_sink = _make_sink


# Where the names are that few programs use, or that are slow to import: they are loaded when they
# are first asked for. They stand under TYPE_CHECKING above, too, for type checkers. No module of
# ours may have such a name: once it is imported, it would stand in the name's place.
_LATER: Mapping[str, str] = {
    "Field": "pydantic",
    "LiteLLMClient": "stratum.clients.litellm",
    "ScriptedClient": "stratum.clients.scripted",
    "ConsoleSink": "stratum.sinks.console",
    "adaptive": "stratum.adapting",
    "debate": "stratum.debating",
    "Failure": "stratum.fan_out",
    "FileSink": "stratum.sinks.files",
    "HumanAnswer": "stratum.reviews",
    "HumanDecision": "stratum.human",
    "HumanReviewContext": "stratum.asking",
    "PendingReview": "stratum.reviews",
    "Probabilistic": "stratum.probabilistic",
    "ReviewSink": "stratum.reviews",
    "SampleGroup": "stratum.probabilistic",
    "ScriptedSink": "stratum.sinks.calling",
    "Success": "stratum.fan_out",
    "await_human": "stratum.human",
    "parallel": "stratum.concurrency",
    "race": "stratum.concurrency",
    "refine": "stratum.refining",
    "wrap": "stratum.direct.wrapping",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module 'stratum' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
