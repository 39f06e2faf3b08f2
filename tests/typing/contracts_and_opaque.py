"""Contracts are classes with typed fields, made by keyword."""

from typing import Annotated, Any, Literal, assert_type

from pydantic import BaseModel, Field

from stratum import Contract, contract, infer, opaque
from stratum.calls import Request


@contract
class Verdict:
    label: Literal["spam", "ham"]
    notes: list[str]
    sure: float = 1.0

    def is_spam(self) -> bool:
        return self.label == "spam"


@contract
class Ticket(BaseModel):
    team: Literal["billing", "shipping"]
    sure: Annotated[float, Field(ge=0, le=1)] = 0.5


@contract
class Letter:
    body: opaque[str]
    to: str = Field(min_length=1)


def plain_classes_become_models() -> None:
    verdict = Verdict(label="spam", notes=[])
    assert_type(verdict, Verdict)
    assert_type(verdict.label, Literal["spam", "ham"])
    assert_type(verdict.sure, float)
    assert_type(verdict.is_spam(), bool)
    Verdict(label="eggs", notes=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Verdict(label="ham")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Verdict(lable="ham", notes=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Verdict("ham", [])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    verdict.lable  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def models_stay_models() -> None:
    ticket = Ticket(team="billing")
    assert_type(ticket, Ticket)
    assert_type(ticket.model_dump(), dict[str, Any])
    Ticket(team="sales")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def opaque_is_the_type_within() -> None:
    letter = Letter(body="Dear all", to="Ann")
    assert_type(letter.body, str)
    Letter(body=4, to="Ann")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@infer(intent="Summarise the letter")
def summarise(letter: opaque[str], pages: opaque[list[str]]) -> opaque[str]: ...


def opaque_parameters_and_answers() -> None:
    assert_type(summarise.run(letter="Dear all", pages=["one"]), str)
    summarise.run(letter=4, pages=["one"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def contracts_as_values(request: Request) -> None:
    assert_type(request.contract, Contract)
    assert_type(Contract.of(list[int], where="digits").hash, str)
