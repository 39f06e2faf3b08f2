"""The formats of golden files, and the step from each to the next.

Format 0, before the first release: a call's `tokens` and `quote` were objects, and
instructions did not say `wire`, which was always "auto".
"""

from collections.abc import Callable, Mapping
from typing import Any

from stratum.errors import RecordingCorrupt
from stratum.hashing import digest, short

FORMAT = 1


def upgraded(data: Any, where: str) -> Any:
    """Return a golden file's data in the current format; what is given stays as it is.

    Raises `RecordingCorrupt` for a newer format and for what is none. The shape of the data is
    for the reader to check: a step raises what it meets, such as `KeyError`.

    >>> upgraded({"format": 0, "instructions": {}, "calls": []}, "f.json")
    {'format': 1, 'instructions': {}, 'calls': []}
    """
    version = data["format"]
    if type(version) is not int or version < 0:
        raise ValueError("format is a number from 0 on")
    if version > FORMAT:
        raise RecordingCorrupt(
            f"{where} has format {version}; this version of Stratum reads {FORMAT} and older.\n"
            "  Install the version that wrote it (python -m pip install --upgrade stratum-py), or "
            "delete the file and record again."
        )
    for step in range(version, FORMAT):
        data = STEPS[step](data)
    return data


def _from_0(data: Mapping[str, Any]) -> dict[str, Any]:
    words = {name: {**old, "wire": "auto"} for name, old in data["instructions"].items()}
    names = {name: short(digest(new)) for name, new in words.items()}
    return {
        **data,
        "format": 1,
        "instructions": {names[name]: new for name, new in words.items()},
        "calls": [_call_from_0(call, names) for call in data["calls"]],
    }


def _call_from_0(call: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    new = {**call, "instructions": names.get(call["instructions"], call["instructions"])}
    if "tokens" in call:
        new["tokens"] = [call["tokens"][name] for name in ("input", "output")]
    if "quote" in call:
        parts = ("input_tokens", "input_price", "output_price")
        new["quote"] = [call["quote"][name] for name in parts]
    return new


STEPS: Mapping[int, Callable[[Any], Any]] = {0: _from_0}
