"""What tests of code that uses Stratum need: stubs, scripts, and values that fit a contract."""

from stratum.clients.scripted import Scripted, ScriptedClient
from stratum.testing.examples import SchemaClient, example_of, examples_of
from stratum.testing.stubs import Stub, stub

__all__ = [
    "SchemaClient",
    "Scripted",
    "ScriptedClient",
    "Stub",
    "example_of",
    "examples_of",
    "stub",
]
