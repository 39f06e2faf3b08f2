"""SPEC section 11: secrets."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from stratum import SecretLeak, infer, using
from stratum.settings import Settings
from tests.conformance.live import Live
from tests.scripted import MODEL, answering, records
from tests.wrapped import recording, texts

TOKEN = "-".join(["Zq7", "f/K+9", "x2Lm" * 3])  # made up here
CODED = {
    "base64": base64.b64encode(TOKEN.encode()).decode(),
    "url": quote(TOKEN, safe=""),
}


@infer(intent="Repeat it")
def echo(text: str) -> str: ...


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_TOKEN", TOKEN)


def test_11_1_a_rotated_key_still_hits_and_what_is_sent_is_not_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rotated = "-".join(["Yt4", "n6" * 9])
    with answering("A", "B") as client:
        echo.run(text=f"use {TOKEN}")
        monkeypatch.setenv("SERVICE_TOKEN", rotated)
        echo.run(text=f"use {rotated}")
    first, second = client.requests
    assert first.key == second.key
    assert (TOKEN in first.prompt.text, rotated in second.prompt.text) == (True, True)
    assert "<secret:SERVICE_TOKEN>" in first.shown.text


@pytest.mark.parametrize("coded", CODED.values(), ids=CODED)
def test_11_2_an_encoded_secret_in_a_prompt_fails_before_anything_is_sent(
    tmp_path: Path, coded: str
) -> None:
    live = Live(lambda request: {"value": "x"})
    settings = Settings(root=tmp_path)
    with (
        recording(settings),
        using(client=live, model=MODEL),
        pytest.raises(SecretLeak, match="SERVICE_TOKEN"),
    ):
        echo.run(text=f"use {coded}")
    assert live.asked == []
    assert list(tmp_path.rglob("*.json")) == []


@pytest.mark.parametrize("coded", CODED.values(), ids=CODED)
def test_11_2_an_encoded_secret_in_a_reply_is_not_written(tmp_path: Path, coded: str) -> None:
    settings = Settings(root=tmp_path)
    live = Live(lambda request: {"value": f"it is {coded}"})
    with (
        recording(settings),
        using(client=live, model=MODEL),
        pytest.raises(SecretLeak, match="SERVICE_TOKEN"),
    ):
        echo.run(text="tell me")
    assert coded not in texts(settings)
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or coded.encode() not in file.read_bytes()


@pytest.mark.parametrize("said", [TOKEN, *CODED.values()], ids=["plain", *CODED])
def test_11_2_traces_hold_no_form_of_a_secret(said: Any) -> None:
    with answering(f"it is {said}"):
        echo.run(text=f"use {said}")
    assert said not in str(records())
    assert "<secret:SERVICE_TOKEN>" in str(records())
