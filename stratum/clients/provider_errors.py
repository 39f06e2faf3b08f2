"""Say what a provider's error means."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from stratum.calls import Request
from stratum.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ProviderError,
    StratumError,
)
from stratum.scope import secrets
from stratum.text import escape, truncate

_TRANSIENT = ("RateLimitError", "InternalServerError", "ServiceUnavailableError", "BadGatewayError",
              "APIConnectionError")  # fmt: skip
_REJECTED = ("AuthenticationError", "PermissionDeniedError")
_UNFIT = ("NotFoundError", "BadRequestError", "UnsupportedParamsError", "UnprocessableEntityError")
_LATER = (408, 409, 425, 429)  # statuses below 500 that say nothing about the request
_SPECIAL = ("ContextWindowExceededError", "ContentPolicyViolationError")
_NO_KEY = re.compile(r"missing credentials|missing \w+ api.?key|api_key client option", re.I)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def may_get_better(litellm: Any, error: Exception) -> bool:
    """Say whether a later try may succeed; a spent credit, a 429 too, does not come back."""
    spent = "insufficient_quota" in words_of(error)
    return _is(litellm, error, _TRANSIENT) and not _lacks_key(error) and not spent


def is_busy(litellm: Any, error: Exception) -> bool:
    """Say whether the provider wants fewer requests, from anybody."""
    return _is(litellm, error, ("RateLimitError",)) or asked_pause(error) is not None


def is_unfit(litellm: Any, error: Exception) -> bool:
    """Say whether the provider understood the request, and does not take it."""
    status = getattr(error, "status_code", None)
    by_status = isinstance(status, int) and 400 <= status < 500 and status not in (401, 403)
    return _is(litellm, error, _UNFIT) or (by_status and status not in _LATER)


def is_about_wire(litellm: Any, error: Exception) -> bool:
    """Say whether the error can be about how the answer was asked for."""
    return is_unfit(litellm, error) and not _is(litellm, error, _SPECIAL)


def words_of(error: Exception) -> str:
    """Return all that was said: an older litellm drops what is not worded as OpenAI does."""
    texts = [str(error)]
    for cause in _causes(error):
        body = getattr(cause, "body", None)
        texts.append(body if isinstance(body, str) else json.dumps(body, default=str))
    return "\n".join(texts)


def asked_pause(error: Exception) -> float | None:
    """Return the seconds that Retry-After asks for (RFC 9110, 10.2.3); None when it does not."""
    text = _headers(error).get("retry-after", "")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (then - datetime.now(UTC)).total_seconds()) if then.tzinfo else None


def translated(
    litellm: Any,
    request: Request,
    error: Exception,
    tries: int,
    arguments: Mapping[str, Any],
    gave_up: str = "",
) -> StratumError:
    """Return the error to raise; `gave_up` says why it was not tried more often."""
    key = str(arguments.get("api_key") or "")
    text = str(error).replace(key, "<secret:api_key>") if key else str(error)
    said = truncate(escape(secrets().scrub(text)), 500)
    who = f"{request.site.function}: {request.model}"
    refused = getattr(error, "status_code", None) in (401, 403)
    if refused or _is(litellm, error, _REJECTED) or _lacks_key(error):
        return AuthenticationFailed(
            f"{who} was not allowed: {said}\n"
            "  Set the provider's key in the environment, or start `stratum local-model` and "
            "use its lines."
        )
    if is_unfit(litellm, error):
        return ConfigurationError(
            f"{who} does not take the request: {said}\n"
            "  Correct the model (provider/name), its parameters, or the address in api_base."
        )
    times = "once" if tries == 1 else f"{tries} times"
    billed = _is(litellm, error, ("Timeout",))
    reason = f"\n  {gave_up}" if gave_up else _remedy(error, arguments)
    return ProviderError(f"{who} failed {times}: {said}{reason}", billed=billed)


def _is(litellm: Any, error: Exception, names: tuple[str, ...]) -> bool:
    return any(isinstance(error, getattr(litellm, name, ())) for name in names)


def _lacks_key(error: Exception) -> bool:
    """Say whether nothing was sent for want of a key; litellm calls that a server error."""
    return not _headers(error) and _NO_KEY.search(str(error)) is not None


def _headers(error: Exception) -> Mapping[str, str]:
    response = getattr(error, "response", None)
    found = getattr(error, "litellm_response_headers", None)
    return found or getattr(response, "headers", None) or {}


def _remedy(error: Exception, arguments: Mapping[str, Any]) -> str:
    """Say what to do when nobody listens at the address."""
    if not any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error)):
        return ""
    base = address_of(arguments)
    local = urlsplit(base).hostname in _LOOPBACK
    start = "start it with `stratum local-model`" if local else "start it"
    return f"\n  Is the server running at {base or 'its address'}? If not, {start}."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def address_of(arguments: Mapping[str, Any]) -> str:
    """Return the address that was set for a provider; empty for its own."""
    names = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
    given = (arguments.get("api_base"), arguments.get("base_url"), *map(os.environ.get, names))
    return next((str(address) for address in given if address), "")


def bare(error: Exception) -> Exception:
    """Return an error of litellm's without the hundreds of lines of where in it that was."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
