"""Calls that are answered from a script, and what they leave behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stratum import ScriptedClient, TraceRecord, using
from stratum.scope import current

MODEL = "test/model"


@contextmanager
def answering(*answers: Any, tokens: tuple[int, int] = (0, 0)) -> Iterator[ScriptedClient]:
    """Answer the calls of the block in the order given, or through one function."""
    script = answers[0] if len(answers) == 1 and callable(answers[0]) else answers
    client = ScriptedClient(script, tokens=tokens)
    with using(client=client, model=MODEL):
        yield client


def records() -> list[TraceRecord]:
    """Return what this test's calls left, in the order they ended."""
    return list(current().root.records)


def sent(client: ScriptedClient) -> list[str]:
    """Return the input texts of what was asked."""
    return [request.prompt.text for request in client.requests]
