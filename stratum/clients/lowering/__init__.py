"""Put a neutral schema into the form that a provider takes, or say that it takes none.

A *form* is what a family of endpoints takes. `lower` is for a `response_format` (the wire
"schema"), `lower_tool` for the parameters of a forced tool (the wire "tool"). Nothing is
silently emptied: where a form cannot say a node, the schema goes out as it is and is not
enforced (`strict` False), or does not go out on this wire (`fits` False).
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from stratum.clients.lowering.anthropic import lower_anthropic
from stratum.clients.lowering.gemini import lower_gemini
from stratum.clients.lowering.groq import STRICT_MODELS, lower_groq
from stratum.clients.lowering.mistral import lower_mistral
from stratum.clients.lowering.openai import lower_openai
from stratum.clients.lowering.openapi import lower_openapi
from stratum.clients.lowering.verdicts import Lowered, Note, Verdict
from stratum.clients.lowering.vllm import lower_vllm
from stratum.clients.lowering.walk import fields_taken_out
from stratum.schemas import Schema, wire_schema

__all__ = [
    "Form",
    "Lowered",
    "Note",
    "Verdict",
    "form_of",
    "lower",
    "lower_openai",
    "lower_tool",
]

Form: TypeAlias = Literal[
    "openai", "anthropic", "gemini", "groq", "mistral", "vllm", "hint", "openapi"
]
Lowering: TypeAlias = Callable[..., Lowered]

_OWN: Mapping[str, Form] = MappingProxyType(
    {
        "anthropic": "anthropic",
        "mistral": "mistral",
        "codestral": "mistral",
        "hosted_vllm": "vllm",
        "vllm": "vllm",
    }
)
_GOOGLE = ("gemini", "vertex_ai", "vertex_ai_beta")
_HOSTS = (*_GOOGLE, "azure_ai", "bedrock", "bedrock_converse")
_FIRST_GEMINI = re.compile(r"gemini-(?:1|pro)\b")


def form_of(provider: str, model: str = "") -> Form:
    """Return the form that a model takes; `provider` is litellm's name (`anthropic`, ...).

    Providers that are not known take OpenAI's, which asks for least.

    >>> form_of("vertex_ai", "claude-sonnet-4-5"), form_of("gemini", "gemini-2.5-flash")
    ('anthropic', 'gemini')
    """
    if provider in _HOSTS and "claude" in model:
        return "anthropic"
    if provider in _GOOGLE and "gemini" in model:
        return "openapi" if _FIRST_GEMINI.search(model) else "gemini"
    if provider == "groq":
        return "groq" if model.endswith(STRICT_MODELS) else "hint"
    return _OWN.get(provider, "openai")


def lower(schema: Schema, *, form: Form, name: str = "answer") -> Lowered:
    """Return the schema as a `response_format` of this form takes it.

    >>> lower({"type": "array", "items": {"type": "integer"}}, form="anthropic").strict
    True
    """
    return _SCHEMAS[form](schema, name=name)


def lower_tool(schema: Schema, *, form: Form, name: str = "answer") -> Lowered:
    """Return the schema as the parameters of a forced tool of this form.

    >>> lower_tool({"type": "object", "additionalProperties": True}, form="anthropic").fits
    True
    """
    return _TOOLS[form](schema, name=name)


def lower_hint(schema: Schema, *, name: str) -> Lowered:
    """Return the schema as it is, for those who take any and promise nothing."""
    return Lowered(wire_schema(schema), strict=False, notes=())


def _whole(lowering: Lowering) -> Lowering:
    """Return the lowering for a wire on which litellm takes fields out."""

    def lowered(schema: Schema, *, name: str) -> Lowered:
        made = lowering(schema, name=name)
        lost = tuple(fields_taken_out(made.schema, name))
        return made._replace(notes=(*made.notes, *lost), fits=False) if lost else made

    return lowered


def _refuse_schema(schema: Schema, *, name: str) -> Lowered:
    note = Note(name, "impossible", "the first Gemini models take no schema through litellm")
    return Lowered(wire_schema(schema), strict=False, notes=(note,), fits=False)


_SCHEMAS: Mapping[Form, Lowering] = MappingProxyType(
    {
        "openai": lower_openai,
        "anthropic": lower_anthropic,
        "gemini": lower_gemini,
        "groq": lower_groq,
        "mistral": lower_mistral,
        "vllm": lower_vllm,
        "hint": lower_hint,
        "openapi": _refuse_schema,
    }
)
_TOOLS: Mapping[Form, Lowering] = MappingProxyType(
    {
        "openai": lower_openai,
        "anthropic": lower_hint,  # input_schema is any JSON Schema of an object
        "gemini": lower_openapi,
        "groq": lower_hint,
        "mistral": _whole(lower_hint),
        "vllm": _whole(lower_vllm),
        "hint": lower_hint,
        "openapi": lower_openapi,
    }
)
