"""What comes back from a direct call: as data in a recording, and as the object it was."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from stratum.calls import Request, Usage
from stratum.direct.libraries import Name, built
from stratum.errors import RecordingCorrupt
from stratum.hashing import digest
from stratum.scope import now

_VOLATILE = ("id", "created")  # another one on every call, and nothing that a model said


def lasting(dump: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an answer is recorded: all but its id and time."""
    return {name: value for name, value in dump.items() if name not in _VOLATILE}


def stream_data(dumps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the chunks of a stream as data: once what is the same in each, then the rest."""
    kept = [lasting(dump) for dump in dumps]
    first, *others = kept or [{}]
    same = {n: v for n, v in first.items() if all(n in o and o[n] == v for o in others)}
    rest = [{name: v for name, v in chunk.items() if name not in same} for chunk in kept]
    return {"each": same, "chunks": rest}


def last_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the answer, or the last chunk of a stream, which tells what it took."""
    rest = data.get("chunks")
    return {**data["each"], **rest[-1]} if rest else data


def usage_of(data: Mapping[str, Any]) -> Usage:
    said = data.get("usage") or {}
    taken, given = (said.get(name) or 0 for name in ("prompt_tokens", "completion_tokens"))
    return Usage(int(taken), int(given))


def model_of(data: Mapping[str, Any]) -> str:
    """Return the model that answered; a stand-in's fingerprint says what it is."""
    fingerprint = data.get("system_fingerprint") or ""
    note = f" ({fingerprint})" if "stand-in" in fingerprint else ""
    return f"{data.get('model') or ''}{note}"


def is_cut(data: Mapping[str, Any]) -> bool:
    """Say whether an answer ended at its limit."""
    parts = data.get("chunks", [data])
    choices = (choice for part in parts for choice in part.get("choices", ()))
    return any(choice.get("finish_reason") == "length" for choice in choices)


def answer(library: Name, data: Any, request: Request) -> Any:
    """Return the object that recorded data stands for.

    Its id follows from key and place, its time is `stratum.now()`. Text and data that are no
    response, as in a script, are what the model said.
    """
    whole = _response(data, request)
    volatile = {"id": _id(request), "created": int(now().timestamp())}
    try:
        return built(library, {**volatile, **whole}, stream=False)
    except Exception as error:
        raise _unfit(request, error) from error


def chunks(library: Name, data: Any, request: Request) -> list[Any]:
    """Return the chunks that recorded data stands for."""
    volatile = {"id": _id(request), "created": int(now().timestamp())}
    try:
        recorded = _chunks(data, request)
        return [built(library, {**volatile, **chunk}, stream=True) for chunk in recorded]
    except Exception as error:
        raise _unfit(request, error) from error


def _id(request: Request) -> str:
    place = None if request.place is None else str(request.place)
    return f"chatcmpl-{digest([request.key, place])[:24]}"


def _response(data: Any, request: Request) -> Mapping[str, Any]:
    if isinstance(data, Mapping) and "choices" in data:
        return data
    message = {"role": "assistant", "content": _said(data)}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"object": "chat.completion", "model": request.model, "choices": [choice]}


def _chunks(data: Any, request: Request) -> Sequence[Mapping[str, Any]]:
    recorded = data.get("chunks") if isinstance(data, Mapping) else None
    if isinstance(recorded, list):
        return [{**data["each"], **chunk} for chunk in recorded]
    said = {"role": "assistant", "content": _said(data)}
    choice = {"index": 0, "finish_reason": "stop", "delta": said}
    head = {"object": "chat.completion.chunk", "model": request.model}
    return [{**head, "choices": [choice]}]


def _said(data: Any) -> str:
    return data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)


def _unfit(request: Request, error: Exception) -> RecordingCorrupt:
    return RecordingCorrupt(
        f"{request.site.function}: the recorded reply of {request.key[:12]} is no "
        f"{request.contract.name} ({type(error).__name__}: {error}).\n"
        "  Correct it in its golden file, or record the call again."
    )


class Chunks:
    """A recorded stream, for `for`; it is read when it is made, and can be closed."""

    def __init__(self, recorded: Sequence[Any]) -> None:
        self._rest = iter(recorded)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._rest)

    def close(self) -> None:
        self._rest = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncChunks:
    """A recorded stream, for `async for`; it is read when it is made, and can be closed."""

    def __init__(self, recorded: Sequence[Any]) -> None:
        self._rest = iter(recorded)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        for chunk in self._rest:
            return chunk
        raise StopAsyncIteration

    async def close(self) -> None:
        self._rest = iter(())

    aclose = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
