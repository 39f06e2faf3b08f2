"""Typed LLM calls that are recorded once, replayed for ever, and explain their drift."""

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
from stratum.concurrency import parallel
from stratum.contracts import Contract, contract
from stratum.errors import (
    AmbiguousPlace,
    AnswerRejected,
    AuthenticationFailed,
    BudgetExceeded,
    ConditionError,
    ConfigurationError,
    ContractViolated,
    CutOff,
    DeclarationError,
    InputError,
    NotAwaited,
    PostconditionFailed,
    PreconditionFailed,
    ProviderError,
    RecordingCorrupt,
    RecordingError,
    RecordingMissing,
    Refused,
    SecretLeak,
    StratumError,
    StratumWarning,
    UnpricedModel,
    UnpricedWarning,
)
from stratum.flows import flow
from stratum.infer import infer
from stratum.opacity import opaque
from stratum.scope import carry, configure, new_id, now, random, traces, using
from stratum.settings import Settings
from stratum.trace import TraceRecord

if TYPE_CHECKING:
    from pydantic import Field

    from stratum.clients.litellm import LiteLLMClient
    from stratum.clients.scripted import ScriptedClient

__version__ = "0.1.0"

__all__ = [
    "AmbiguousPlace",
    "AnswerRejected",
    "AuthenticationFailed",
    "Budget",
    "BudgetExceeded",
    "Client",
    "ConditionError",
    "ConfigurationError",
    "Contract",
    "ContractViolated",
    "CutOff",
    "DeclarationError",
    "Exchange",
    "Field",
    "InputError",
    "LiteLLMClient",
    "NotAwaited",
    "Place",
    "PostconditionFailed",
    "PreconditionFailed",
    "ProviderError",
    "Quote",
    "RecordingCorrupt",
    "RecordingError",
    "RecordingMissing",
    "Refused",
    "Reply",
    "Request",
    "ScriptedClient",
    "SecretLeak",
    "Site",
    "StratumError",
    "StratumWarning",
    "TraceRecord",
    "UnpricedModel",
    "UnpricedWarning",
    "Usage",
    "carry",
    "compute",
    "configure",
    "contract",
    "flow",
    "infer",
    "new_id",
    "now",
    "opaque",
    "parallel",
    "random",
    "traces",
    "using",
]


def _default_client(settings: Settings) -> Client:
    from stratum.clients.litellm import LiteLLMClient

    return LiteLLMClient(settings=settings)


_scope.process.default_client = _default_client


def __getattr__(name: str) -> Any:
    if name == "Field":
        from pydantic import Field

        return Field
    if name == "LiteLLMClient":
        from stratum.clients.litellm import LiteLLMClient

        return LiteLLMClient
    if name == "ScriptedClient":
        from stratum.clients.scripted import ScriptedClient

        return ScriptedClient
    raise AttributeError(f"module 'stratum' has no attribute {name!r}")
