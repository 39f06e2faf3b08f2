"""Say what became of a schema on its way to a provider."""

from typing import Literal, NamedTuple

from stratum.schemas import Schema

Verdict = Literal["tightened", "prose", "impossible"]


class Note(NamedTuple):
    """What became of a node: `tightened`, said in `prose`, or `impossible` to say.

    A node without a note is kept.
    """

    path: str
    verdict: Verdict
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.verdict}: {self.text}"


class Lowered(NamedTuple):
    """A schema to send, whether the provider is to enforce it, and what was done to it.

    With `fits` False the provider, or litellm on the way to it, would refuse or empty the
    schema on this wire: the next wire is to be taken, and `notes` say why.
    """

    schema: Schema
    strict: bool
    notes: tuple[Note, ...]
    fits: bool = True
