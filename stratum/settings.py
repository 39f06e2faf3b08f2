"""Read `[tool.stratum]` of the nearest pyproject.toml."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import field, fields
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Literal

from stratum.errors import ConfigurationError
from stratum.values import dataclass

NOW = datetime(2026, 1, 1, tzinfo=UTC)  # what time it is under record and replay


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars per million tokens."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Settings:
    """A project's settings; `root` is the folder that recorded file names are relative to."""

    root: Path
    model: str | None = None
    max_tokens: int = 4096
    prices: Mapping[str, Price] = field(default_factory=dict)
    golden: str = "golden"
    recordings: Literal["golden", "cache"] = "golden"
    redact: tuple[str, ...] = ()
    store_opaque: bool = False
    now: datetime = NOW
    max_age: int | None = None  # days

    @property
    def golden_folder(self) -> Path:
        return self.root / self.golden

    @property
    def recordings_folder(self) -> Path:
        if self.recordings == "cache":
            return self.state_folder / "recordings"
        return self.golden_folder / "recordings"

    @property
    def state_folder(self) -> Path:
        """Where everything lives that is not committed."""
        return self.root / ".stratum"


def load(start: Path, *, otherwise: Path | None = None) -> Settings:
    """Return the settings that hold in folder `start`.

    The nearest pyproject.toml upward with a `[tool.stratum]` table decides, and its folder
    is the root; without one the root is `otherwise` (pytest's rootdir), else `start`.
    Raises `ConfigurationError` for an unknown key or a wrong value.
    """
    start = Path(os.path.abspath(start))
    for folder in (start, *start.parents):
        table = _table(folder / "pyproject.toml")
        if table is not None:
            return _settings(folder, table)
    return Settings(root=otherwise or start)


def _table(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    import tomllib  # here and below: a program that has no settings file need not load it

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    tools = document.get("tool", {})
    table = tools.get("stratum") if isinstance(tools, dict) else None
    if table is None or isinstance(table, dict):
        return table
    raise ConfigurationError(f"{path}: [tool.stratum] should be a table, not {table!r}")


def _settings(root: Path, table: dict[str, Any]) -> Settings:
    path = root / "pyproject.toml"
    known = {f.name for f in fields(Settings)} - {"root"}
    for key in table:
        if key not in known:
            import difflib

            close = difflib.get_close_matches(key, sorted(known), 1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(known))}"
            )
            raise ConfigurationError(f"{path}: [tool.stratum] has no setting {key!r}; {hint}")
    return Settings(root=root, **{key: _read(path, key, value) for key, value in table.items()})


def _read(path: Path, key: str, value: Any) -> Any:
    match key, value:
        case "model", str() if value.strip():
            return value
        case "golden", str() if _is_below(value):
            return value
        case "recordings", "golden" | "cache":
            return value
        case "store_opaque", bool():
            return value
        case "max_tokens" | "max_age", int() if value > 0 and value is not True:
            return value
        case "redact", list() if all(isinstance(item, str) for item in value):
            return tuple(_pattern(path, item) for item in value)
        case "prices", dict():
            return {model: _price(path, model, price) for model, price in value.items()}
        case "now", datetime():
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        case "now", date():
            return datetime.combine(value, time(), UTC)
    raise _wrong(path, key, value)


def _is_below(folder: str) -> bool:
    parts = Path(folder).parts
    return bool(parts) and not Path(folder).is_absolute() and ".." not in parts


def _pattern(path: Path, pattern: str) -> str:
    """Return a regular expression that can be used to find secrets."""
    try:
        matches_nothing = re.compile(pattern).match("") is None
    except re.error as error:
        raise ConfigurationError(
            f"{path}: [tool.stratum] redact: {pattern!r} is no regular expression: {error}"
        ) from None
    if matches_nothing:
        return pattern
    raise ConfigurationError(
        f"{path}: [tool.stratum] redact: {pattern!r} also matches the empty text, so it would "
        "stand everywhere; let it match one character at least"
    )


def _price(path: Path, model: str, price: Any) -> Price:
    match price:
        case {"input": int() | float() as i, "output": int() | float() as o, **more} if not more:
            if all(math.isfinite(each) and each >= 0 for each in (i, o)):
                return Price(float(i), float(o))
    raise _wrong(path, f"prices.{model!r}", price)


_FORMS = {
    "model": "a model's name, such as 'openai/gpt-4o-mini'",
    "golden": "a folder's name below the project",
    "recordings": '"golden" or "cache"',
    "store_opaque": "true or false",
    "max_tokens": "a positive number of tokens",
    "max_age": "a positive number of days",
    "redact": "a list of regular expressions",
    "now": "a date or a date with time",
}


def _wrong(path: Path, key: str, value: Any) -> ConfigurationError:
    form = _FORMS.get(key, "{ input = dollars, output = dollars } per million tokens")
    return ConfigurationError(f"{path}: [tool.stratum] {key} = {value!r} should be {form}")
