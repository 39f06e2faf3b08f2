"""SPEC section 12: settings."""

from pathlib import Path
from typing import Any

import pytest

from stratum import ConfigurationError, configure, infer, using
from stratum.scope import process
from stratum.settings import load
from tests.scripted import answering


@infer(intent="Say it")
def say(text: str) -> str: ...


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(f"[tool.stratum]\n{text}\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "text",
    ['modle = "a/b"', 'recordings = "disk"', "max_age = -1", 'redact = ["("]', "prices = 3"],
)
def test_12_1_an_unknown_key_or_a_wrong_value_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text.partition(" ")[0]):
        load(project(tmp_path, text))


def test_12_1_the_nearest_file_upward_counts(tmp_path: Path) -> None:
    below = project(tmp_path, 'model = "a/b"') / "deep" / "er"
    below.mkdir(parents=True)
    assert (load(below).model, load(below).root) == ("a/b", tmp_path)


def test_12_1_the_nearest_word_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "model", None)
    configure(model="of/process")
    asked: list[str] = []

    def answer(request: Any) -> str:
        asked.append(request.model)
        return "A"

    with answering(answer) as client:
        say.run(text="a")
        with using(model="of/block"):
            say.run(text="a")
            say.with_(model="of/function").run(text="a")
    with using(client=client):
        say.run(text="a")
    assert asked == ["test/model", "of/block", "of/function", "of/process"]
