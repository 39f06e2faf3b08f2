"""The two libraries whose calls can be wrapped: what they take, and what they give back."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

from pydantic import TypeAdapter

from stratum.contracts import Contract
from stratum.errors import ConfigurationError
from stratum.schemas import fingerprint

Name = Literal["litellm", "openai"]

# The classes that a recording is put back into. Nothing in a golden file names a class.
_CLASSES = {
    ("litellm", False): ("litellm.types.utils", "ModelResponse"),
    ("litellm", True): ("litellm.types.utils", "ModelResponseStream"),
    ("openai", False): ("openai.types.chat", "ChatCompletion"),
    ("openai", True): ("openai.types.chat", "ChatCompletionChunk"),
}
_LITELLM = {"completion": False, "acompletion": True}
_OPENAI = {"openai Completions": False, "openai AsyncCompletions": True}


class Wrappable(NamedTuple):
    """A function that can be wrapped: of which library, and whether it is awaited."""

    library: Name
    is_async: bool


def wrappable(function: Any) -> Wrappable:
    """Say what a function is; raises `ConfigurationError` for one that cannot be wrapped."""
    name = getattr(function, "__name__", None)
    if inspect.isfunction(function) and _top(function.__module__) == "litellm":
        if name in _LITELLM:
            return Wrappable("litellm", _LITELLM[name])
    elif inspect.ismethod(function) and name == "create":
        for base in type(function.__self__).__mro__:
            named = f"{_top(base.__module__)} {base.__name__}"
            if named in _OPENAI and "chat" in base.__module__:
                return Wrappable("openai", _OPENAI[named])
    raise ConfigurationError(
        f"stratum.wrap was given {function!r}.\n"
        "  It takes litellm.completion, litellm.acompletion, and client.chat.completions.create of "
        "an OpenAI or AsyncOpenAI client (not their with_raw_response, with_streaming_response "
        "and parse forms). Write other calls as @infer functions."
    )


def _top(module: str) -> str:
    return module.partition(".")[0]


@cache
def contract_of(library: Name, *, stream: bool) -> Contract:
    """Return the contract of a direct call's answer: an object of one class, as that dumps it."""
    name = ".".join(_CLASSES[library, stream])
    title = f"{_top(name)} {name.rpartition('.')[2]}{'s' if stream else ''}"
    schema = {"type": "object", "title": title}
    return Contract(
        hash=fingerprint(schema),
        name=title,
        schema=schema,
        wrapped=False,
        annotation=Any,
        adapter=TypeAdapter[Any](Any),
        fractional=False,
    )


@cache
def class_of(library: Name, *, stream: bool) -> Any:
    """Return the class of a library's answers; whoever wraps a call has imported it."""
    module, name = _CLASSES[library, stream]
    found = getattr(import_module(module), name)
    with warnings.catch_warnings():  # pydantic tells users what their libraries should know
        warnings.simplefilter("ignore")
        found.model_rebuild()
        if library == "litellm":
            found()
    return found


def dumped(library: Name, value: Any) -> dict[str, Any]:
    """Return an answer, or a chunk of one, as its own `model_dump` gives it."""
    data: dict[str, Any] = value.model_dump(
        mode="json", by_alias=True, exclude_unset=library == "openai", warnings=False
    )
    return data


def built(library: Name, data: Mapping[str, Any], *, stream: bool) -> Any:
    """Return the object that the library itself would make of an answer's data."""
    found = class_of(library, stream=stream)
    make: Callable[..., Any] = found.construct if library == "openai" else found
    return make(**data)
