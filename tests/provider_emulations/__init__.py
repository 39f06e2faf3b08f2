"""Providers' own protocols on 127.0.0.1, refusing what the real ones are documented to refuse."""

from tests.provider_emulations.anthropic import ANTHROPIC
from tests.provider_emulations.chat import GROQ, MISTRAL, OPENAI, VLLM
from tests.provider_emulations.gemini import GEMINI
from tests.provider_emulations.serving import Emulation, Heard, NotTaken, Protocol

__all__ = [
    "ANTHROPIC",
    "GEMINI",
    "GROQ",
    "MISTRAL",
    "OPENAI",
    "VLLM",
    "Emulation",
    "Heard",
    "NotTaken",
    "Protocol",
]
