"""Choose the wire that a contract travels on, and the next one when a provider refuses it."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

Rung: TypeAlias = Literal["schema", "tool", "prompt"]
Scope: TypeAlias = Literal["model", "contract"]

LADDER: tuple[Rung, ...] = ("schema", "tool", "prompt")
TOOL = "answer"  # the name of the one tool that is forced

# How providers name the features. Seen at OpenAI, Anthropic, Bedrock, Gemini, Groq, Mistral, xAI,
# DeepSeek, OpenRouter, Ollama, vLLM, and in litellm's own UnsupportedParamsError.
_SCHEMA = (
    r"response[_ ]?(?:format|schema|mime)|json[_ -]?(?:schema|mode)|structured[_ ]?outputs?|"
    r"output[_ ]?(?:format|config)|guided[_ ]?(?:json|decoding|grammar)|textformat|text_format"
)
_TOOL = r"tool[_ ]?(?:choice|use|call\w*|config)|\btools?\b|\bfunctions?\b|function[_ ]?call\w*"
_NAMES = {
    "schema": re.compile(f"{_SCHEMA}|{_TOOL}", re.I),  # litellm may make a forced tool of it
    "tool": re.compile(_TOOL, re.I),
}
_REFUSED = re.compile(
    r"(?:not|n't)\s+(?:currently\s+|yet\s+|be\s+)*(?:support|available|enabled|allow|permit|"
    r"implement|compatible|one of)|un(?:supported|available|recogni[sz]ed|expected|known)|"
    r"incompatible|extra (?:inputs|fields)|(?:should|must|has to)(?: either)? be|requires? |"
    r"no endpoints found|\binvalid\b|one of the following must be satisfied",
    re.I,
)
# A complaint about what stands in the schema concerns this contract, not the model.
_CONTENT = re.compile(
    r"invalid (?:json )?schema|schema (?:is )?(?:too|contains|produces|must|should|has|exceeds)|"
    r"in context=|tools\.\d+\.custom|for '\w+' type|property '[^']*' is not|states for serving|"
    r"output_(?:config\.)?format\.schema|compiled grammar|xgrammar|"
    r"(?:parameters|schema)\.(?:properties|\$defs|items|required)",
    re.I,
)
# What names tools but is about the order of messages, or the length of the prompt.
_OTHER = re.compile(
    r"tool_call_id|tool_use_id|tool_result|must be followed by tool|context length|context window|"
    r"maximum context|too many tokens|prompt is too long",
    re.I,
)
_CLAUSES = re.compile(r"[.;]\s|\n")


class Refusal(NamedTuple):
    """A wire that was refused: which, what the provider named, and for how much it holds."""

    rung: Rung
    named: str
    scope: Scope

    def __str__(self) -> str:
        return f"{self.rung}: {self.named}"


def refusal_of(text: str, rung: Rung) -> Refusal | None:
    """Return how a provider's error refuses a wire; None when it is about something else.

    The feature and the refusal have to stand in one clause.

    >>> refusal_of("'response_format' of type 'json_schema' is not supported.", "schema").scope
    'model'
    >>> refusal_of("Invalid schema for response_format 'answer': too deep", "schema").scope
    'contract'
    >>> refusal_of("temperature has to be below 2", "schema") is None
    True
    """
    if rung == "prompt" or _OTHER.search(text):
        return None
    for clause in _CLAUSES.split(text):
        named = _NAMES[rung].search(clause)
        if named is not None and _CONTENT.search(clause):
            return Refusal(rung, _normal(named[0]), "contract")
        if named is not None and _REFUSED.search(clause):
            return Refusal(rung, _normal(named[0]), "model")
    return None


def _normal(name: str) -> str:
    return name.lower().replace(" ", "_")


class Ladder:
    """What models refused, remembered for the process: by model and address.

    A feature that a model lacks is not tried again; a schema that it does not take is not
    tried again for the same contract.

    >>> ladder = Ladder()
    >>> ladder.remember([Refusal("schema", "response_format", "model")], ("m", ""), "c")
    >>> list(ladder.rungs("schema", ("m", ""), "other"))
    ['tool', 'prompt']
    """

    def __init__(self) -> None:
        self._refused: dict[tuple[Any, ...], Refusal] = {}

    def rungs(self, first: Rung, who: tuple[str, str], contract: str) -> Iterator[Rung]:
        """Yield the wires to try, the best first; the last one takes every contract."""
        for rung in LADDER[LADDER.index(first) :]:
            if self._known(rung, who, contract) is None:
                yield rung

    def refused(self, who: tuple[str, str], contract: str) -> list[Refusal]:
        """Return what is known to be refused, in the order of the ladder."""
        known = (self._known(rung, who, contract) for rung in LADDER)
        return [refusal for refusal in known if refusal is not None]

    def remember(self, refusals: Sequence[Refusal], who: tuple[str, str], contract: str) -> None:
        """Remember refusals, once a wire below them was taken."""
        for refusal in refusals:
            whose = contract if refusal.scope == "contract" else None
            self._refused.setdefault((*who, refusal.rung, whose), refusal)

    def _known(self, rung: Rung, who: tuple[str, str], contract: str) -> Refusal | None:
        of_model = self._refused.get((*who, rung, None))
        return of_model or self._refused.get((*who, rung, contract))
