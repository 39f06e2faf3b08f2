"""Make values that fit a contract, the same for the same seed."""

from functools import partial
from random import Random
from typing import Any, TypeVar, overload

from stratum.calls import Quote, Reply, Request
from stratum.contracts import Contract, Unreadable
from stratum.errors import ConfigurationError
from stratum.hashing import digest
from stratum.testing.filling import Endless, filled

T = TypeVar("T")

_TRIES = 60  # with different draws, before we say that no value can be made


@overload
def example_of(contract: type[T], *, seed: int = 0) -> T: ...
@overload
def example_of(contract: Any, *, seed: int = 0) -> Any: ...
def example_of(contract: Any, *, seed: int = 0) -> Any:
    """Return a valid value of a contract: a `Contract`, or any annotation that can be one.

    The same for the same seed, in every process; other seeds give other values where there
    are some. It has been read through the contract. Raises `ConfigurationError` where no
    value could be made, as behind a validator that takes hardly anything.

    >>> from typing import Literal
    >>> example_of(Literal["positive", "negative"]) in ("positive", "negative")
    True
    >>> example_of(list[int], seed=7) == example_of(list[int], seed=7)
    True
    """
    known = _contract(contract)
    return known.read(_data(known, str(seed)))


@overload
def examples_of(contract: type[T], n: int, *, seed: int = 0) -> list[T]: ...
@overload
def examples_of(contract: Any, n: int, *, seed: int = 0) -> list[Any]: ...
def examples_of(contract: Any, n: int, *, seed: int = 0) -> list[Any]:
    """Return the values that `example_of` makes of `n` seeds, from `seed` on.

    >>> len(examples_of(int, 3))
    3
    """
    known = _contract(contract)
    return [known.read(_data(known, str(each))) for each in range(seed, seed + n)]


class SchemaClient:
    """A client that answers every call with a value that fits its contract.

    The value depends on the seed and on the call's key alone, so that a retry, which has
    another key, gets another one. It knows no `ensure` conditions. `requests` holds what
    was asked.

    >>> from stratum import infer, using
    >>> @infer(intent="Rate the text", model="any/model")
    ... def rate(text: str) -> float: ...
    >>> with using(client=SchemaClient(seed=1)):
    ...     isinstance(rate.run(text="fine"), float)
    True
    """

    live = False

    def __init__(self, seed: int = 0) -> None:
        self.requests: list[Request] = []
        self._seed = seed

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        data = _data(request.contract, digest([self._seed, request.key]))
        return Reply(data=data, model=request.model, origin="scripted", cost=0.0)

    async def quote(self, request: Request) -> Quote:
        return Quote(0, 0.0, 0.0)


def _contract(given: Any) -> Contract:
    return given if isinstance(given, Contract) else Contract.of(given, where="example_of")


def _data(contract: Contract, seed: str) -> Any:
    """Return JSON data that the contract reads."""
    refused: tuple[str, ...] = ()
    for number in range(_TRIES):
        make = partial(filled, contract.schema, Random(f"{seed}/{number}"), number)
        try:
            data = {"value": make()} if contract.wrapped else make()
            contract.read(data)
        except Endless as error:
            refused = (str(error),)
            break
        except Unreadable as unreadable:
            refused = unreadable.problems
            continue
        return data
    reasons = "\n".join(f"  - {problem}" for problem in refused)
    raise ConfigurationError(
        f"example_of: no value of {contract.name} could be made:\n{reasons}\n"
        "  Give the fields that need a certain value Field(examples=[...]), or write the value "
        "by hand."
    )
