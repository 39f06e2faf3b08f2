"""Check what decorators are given."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from stratum.budget import Budget
from stratum.calls import UNKEYED, CacheScope, Wire
from stratum.errors import DeclarationError
from stratum.hashing import canonical, jsonable

_OURS = {
    "messages": "the inputs are sent as messages",
    "model": "write model=... beside params",
    "response_format": "the return annotation says what the answer looks like",
    "stream": "an answer is read when it is whole",
}


def check_wording(name: str, intent: Any, context: Any) -> None:
    """Refuse instructions that are no text."""
    if not isinstance(intent, str) or not intent.strip():
        raise DeclarationError(f"{name}: intent={intent!r}; say in words what the model should do")
    if context is not None and not isinstance(context, str):
        raise DeclarationError(f"{name}: context={context!r}; it takes a text")


def check_budget(name: str, budget: Any) -> None:
    """Refuse what is no budget."""
    if budget is not None and not isinstance(budget, Budget):
        raise DeclarationError(f"{name}: budget={budget!r}; write Budget(ms=..., usd=...)")


def check_settings(name: str, *, model: Any, retries: Any, cache: Any, wire: Any) -> None:
    """Refuse settings that are misspelt or of a wrong type."""
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise DeclarationError(f"{name}: model={model!r}; it takes a model's name")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise DeclarationError(f"{name}: retries={retries!r}; it takes a whole number from 0 up")
    _check_word(name, "cache", cache, typing.get_args(CacheScope))
    _check_word(name, "wire", wire, typing.get_args(Wire))


def chosen_models(name: str, model: Any) -> tuple[str | None, tuple[str, ...]]:
    """Return the model to ask, and those to ask when it fails; refuses what is no list of names.

    >>> chosen_models("f", ["openai/gpt-4o", "groq/llama-3.3-70b"])
    ('openai/gpt-4o', ('groq/llama-3.3-70b',))
    """
    if model is None or isinstance(model, str):
        return model, ()
    if not isinstance(model, (list, tuple)) or not model:
        raise DeclarationError(
            f"{name}: model={model!r}; it takes a model's name, or a list of names to ask in turn"
        )
    for at, each in enumerate(model):
        if not isinstance(each, str) or not each.strip():
            raise DeclarationError(f"{name}: model[{at}]={each!r}; it takes a model's name")
        if each in model[:at]:
            raise DeclarationError(f"{name}: model lists {each!r} twice; name each once")
    return model[0], tuple(model[1:])


def _check_word(name: str, setting: str, word: Any, known: tuple[str, ...]) -> None:
    if word not in known:
        listed = ", ".join(f'"{each}"' for each in known)
        raise DeclarationError(f"{name}: {setting}={word!r}; it takes one of {listed}")


def merged_params(
    name: str, params: Any, *, temperature: float | None = None, max_tokens: int | None = None
) -> dict[str, Any]:
    """Return all parameters for the provider; refuses what cannot be sent or hashed."""
    if params is not None and not isinstance(params, Mapping):
        raise DeclarationError(f"{name}: params={params!r}; it takes a dict of names and values")
    merged = dict(params or {})
    for key, value in (("temperature", temperature), ("max_tokens", max_tokens)):
        if value is None:
            continue
        if key in merged:
            raise DeclarationError(f"{name}: {key} stands in params too; give it once")
        merged[key] = value
    _check_params(name, merged)
    return merged


def _check_params(name: str, params: dict[str, Any]) -> None:
    for key in _OURS.keys() & params.keys():
        raise DeclarationError(f"{name}: params cannot hold {key}; {_OURS[key]}")
    tokens, heat = params.get("max_tokens", 1), params.get("temperature", 0)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise DeclarationError(f"{name}: max_tokens={tokens!r}; it takes a whole number from 1 up")
    if isinstance(heat, bool) or not isinstance(heat, (int, float)) or not heat >= 0:
        raise DeclarationError(f"{name}: temperature={heat!r}; it takes a number from 0 up")
    shaping = {key: value for key, value in params.items() if key not in UNKEYED}
    try:
        jsonable(shaping, "params")  # says where it is
        canonical(shaping)
    except TypeError as error:
        raise DeclarationError(f"{name}: {error}") from None


def signature_of(
    function: Callable[..., Any], name: str
) -> tuple[inspect.Signature, dict[str, Any]]:
    """Return a function's signature and its annotations, one for the answer among them."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise DeclarationError(
            f"{name}: its annotations cannot be read: {error}\n"
            "  Define or import the names they use above the function."
        ) from error
    if "return" not in hints:
        raise DeclarationError(
            f"{name} has no return annotation, so there is no contract for the answer.\n"
            "  Write `-> SomeType`."
        )
    return inspect.signature(function), hints


def function_name(function: object) -> str:
    """Return the qualified name of a function; refuses anything else."""
    if inspect.isfunction(function):
        return function.__qualname__
    raise DeclarationError(
        f"@infer was put on {function!r}, which is no function.\n"
        "  Put it on a def, and @staticmethod or @classmethod above it."
    )
