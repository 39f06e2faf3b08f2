"""Settings are read from the nearest pyproject.toml, and every mistake in them is named."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from stratum.errors import ConfigurationError
from stratum.settings import NOW, Price, Settings, load


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "pyproject.toml").write_text(f"[tool.stratum]\n{text}\n", encoding="utf-8")
    return load(folder)


def test_without_a_file_the_start_is_the_root(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings(root=tmp_path)
    assert load(tmp_path, otherwise=tmp_path.parent).root == tmp_path.parent


def test_the_nearest_table_upward_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.stratum]\nmodel = "outer"')
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.stratum]\nmodel = "inner"')
    (inner / "pyproject.toml").write_text("[tool.other]")
    assert (load(inner).model, load(inner).root) == ("inner", tmp_path / "a")


def test_a_relative_start_is_looked_up_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_of(tmp_path, 'model = "m"')
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert (load(Path()).model, load(Path()).root) == ("m", tmp_path)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('model = "openai/gpt-4o"', "model", "openai/gpt-4o"),
        ("max_tokens = 100", "max_tokens", 100),
        ("max_age = 30", "max_age", 30),
        ('golden = "tests/golden"', "golden", "tests/golden"),
        ('recordings = "cache"', "recordings", "cache"),
        ("store_opaque = true", "store_opaque", True),
        ("redact = ['\\d{4}']", "redact", (r"\d{4}",)),
        ("prices.'a/b' = {input = 1, output = 2.5}", "prices", {"a/b": Price(1.0, 2.5)}),
        ("prices.m = {input = 0, output = 0}", "prices", {"m": Price(0.0, 0.0)}),
        ("now = 2026-05-04", "now", datetime(2026, 5, 4, tzinfo=UTC)),
        ("now = 2026-05-04T10:00:00", "now", datetime(2026, 5, 4, 10, tzinfo=UTC)),
    ],
    ids=["model", "max_tokens", "max_age", "golden", "recordings", "store_opaque", "redact",
         "prices", "free", "date", "datetime"],
)  # fmt: skip
def test_a_setting_is_read(tmp_path: Path, text: str, name: str, value: Any) -> None:
    assert getattr(settings_of(tmp_path, text), name) == value


def test_now_keeps_its_zone(tmp_path: Path) -> None:
    now = settings_of(tmp_path, "now = 2026-05-04T10:00:00+02:00").now
    assert now == datetime(2026, 5, 4, 10, tzinfo=timezone(timedelta(hours=2)))
    assert Settings(root=tmp_path).now == NOW


def test_folders_are_below_the_root(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 'golden = "g"')
    assert settings.recordings_folder == tmp_path / "g" / "recordings"
    cached = settings_of(tmp_path, 'recordings = "cache"')
    assert cached.recordings_folder == tmp_path / ".stratum" / "recordings"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modell = 'm'", "[tool.stratum] has no setting 'modell'; did you mean 'model'?"),
        ("root = 'x'", "has no setting 'root'; known are golden, max_age, max_tokens, model"),
        ("model = 3", "model = 3 should be a model's name, such as 'openai/gpt-4o-mini'"),
        ("model = ' '", "model = ' ' should be a model's name"),
        ("max_tokens = 0", "max_tokens = 0 should be a positive number of tokens"),
        ("max_tokens = true", "max_tokens = True should be a positive number of tokens"),
        ("max_tokens = '9'", "max_tokens = '9' should be a positive number of tokens"),
        ("golden = '/abs'", "golden = '/abs' should be a folder's name below the project"),
        ("golden = '../x'", "golden = '../x' should be a folder's name below the project"),
        ("golden = ''", "golden = '' should be a folder's name below the project"),
        ("recordings = 'disk'", "recordings = 'disk' should be \"golden\" or \"cache\""),
        ("store_opaque = 1", "store_opaque = 1 should be true or false"),
        ("redact = 'x'", "redact = 'x' should be a list of regular expressions"),
        ("redact = [1]", "redact = [1] should be a list of regular expressions"),
        ("redact = ['a', '(b']", "redact: '(b' is no regular expression: missing ), unterminated"),
        ("redact = ['a*']", "redact: 'a*' also matches the empty text"),
        ("prices.m = 3", "prices.'m' = 3 should be { input = dollars, output = dollars } per mil"),
        ("prices.m = {input = 1}", "prices.'m' = {'input': 1} should be"),
        ("prices.m = {input = -1, output = 1}", "should be { input = dollars"),
        ("prices.m = {input = nan, output = 1}", "should be { input = dollars"),
        ("prices.m = {input = 1, output = inf}", "should be { input = dollars"),
        ("prices.m = {input = 1, output = 1, cached = 1}", "should be { input = dollars"),
        ("prices = 3", "prices = 3 should be { input = dollars"),
        ("now = '2026-01-01'", "now = '2026-01-01' should be a date or a date with time"),
        ("now = 10:00:00", "should be a date or a date with time"),
    ],
    ids=["misspelt", "unknown", "model", "blank", "zero", "bool", "text", "absolute", "above",
         "empty", "recordings", "store_opaque", "redact", "redact-items", "bad-pattern",
         "greedy-pattern", "price", "half-price", "negative-price", "nan-price", "endless-price",
         "extra-price",
         "prices", "now", "time"],
)  # fmt: skip
def test_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "pyproject.toml"))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[tool", "pyproject.toml cannot be read: "),
        (b"a = '\xff'", "pyproject.toml cannot be read: "),
        (b"[tool]\nstratum = 3", "[tool.stratum] should be a table, not 3"),
    ],
    ids=["syntax", "encoding", "number"],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert said in str(caught.value)


def test_a_tool_that_is_no_table_has_no_settings(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("tool = 1")
    assert load(tmp_path) == Settings(root=tmp_path)
