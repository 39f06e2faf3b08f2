"""Secrets are found by name and value, replaced as they are, and noticed in disguise."""

import base64
import json
import re
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from stratum.attempts import Settled, begin, judge
from stratum.calls import Reply
from stratum.errors import PreconditionFailed
from stratum.infer import infer
from stratum.prompts import Prompt
from stratum.redact import Secrets

VALUE = "-".join(["sk", "9aB", "x7" * 5, "Q/w+z="])
ODD = '"'.join(["pa", "<ss>", "wörd\\", "Zz98"])


def hiding(value: str = VALUE, name: str = "API_KEY", **more: str) -> Secrets:
    return Secrets.of({name: value, **more})


@pytest.mark.parametrize(
    "name",
    ["API_KEY", "apiKey", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "SMTP_PASS",
     "MYSQL_PWD", "KEYS", "TOKEN_2", "GH_PAT", "SESSION_COOKIE", "SENTRY_DSN", "BASIC_AUTH"],
)  # fmt: skip
def test_a_variable_is_secret_by_its_name(name: str) -> None:
    assert hiding(name=name).redact(f"a {VALUE} b") == f"a <secret:{name}> b"


@pytest.mark.parametrize(
    "name", ["HOME", "EDITOR", "TOKENIZERS_PARALLELISM", "KEYBOARD", "AUTHOR", "PATTERN", "COMPASS"]
)
def test_other_names_are_not_secret(name: str) -> None:
    assert not hiding(name=name)


@pytest.mark.parametrize(
    "value",
    ["short-1a2b", "/home/ann/.ssh/id_rsa1", "~/.config/key1", "./keys/server.pem", "certs/a1.key",
     "C:\\keys\\server.pem", "../up/key-1.pem", ".env.production", "1234567890123",
     "-1,000,000.000", "deterministic", "Authentication", "PRODUCTION",
     "https://auth.example.com/v1/token", "/Users/ann/Library/Keys/github"],
    ids=["short", "absolute", "home", "relative", "file", "windows", "above", "dotfile", "number",
         "amount", "word", "capital", "capitals", "address", "folders"],
)  # fmt: skip
def test_harmless_values_are_not_secret(value: str) -> None:
    assert not hiding(value)


@pytest.mark.parametrize(
    "value",
    ["correct horse battery", "ghp_16C7e42F292c69", "/Ab3dEf" + "gH1jK2" * 5, ".x9Kq2" * 3,
     "a1" * 6, "https://ann:pw1@example.com", "abcdefgh" * 5, "eyJhbGciOi.eyJzdWIi.SflKxwRJSM"],
    ids=["phrase", "token", "base64-with-slash", "dotted", "shortest", "credentials", "letters",
         "jwt"],
)  # fmt: skip
def test_other_values_are_secret(value: str) -> None:
    assert hiding(value).redact(value) == "<secret:API_KEY>"


def test_blanks_around_a_value_are_not_part_of_it() -> None:
    assert hiding(f" {VALUE}\n").redact(VALUE) == "<secret:API_KEY>"


def test_the_longest_value_is_replaced_first() -> None:
    hidden = hiding(VALUE, OTHER_TOKEN=VALUE + "-more")
    assert hidden.redact(f"{VALUE}-more {VALUE}") == "<secret:OTHER_TOKEN> <secret:API_KEY>"


def test_of_equal_values_the_first_name_counts() -> None:
    assert Secrets.of({"Z_KEY": VALUE, "A_KEY": VALUE}).redact(VALUE) == "<secret:A_KEY>"


@pytest.mark.parametrize(
    "spell",
    [str, lambda v: json.dumps([v]), lambda v: json.dumps([v], ensure_ascii=False), repr,
     lambda v: json.dumps(v, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e")],
    ids=["plain", "json", "json-utf8", "python", "json-in-tags"],
)  # fmt: skip
def test_a_value_is_replaced_inside_quoted_text(spell: Any) -> None:
    text = hiding(ODD).redact(spell(ODD))
    assert text.strip("[]\"'") == "<secret:API_KEY>"


def test_patterns_are_replaced_by_number() -> None:
    hidden = Secrets.of({}, [r"\d{4}-\d{4}", r"[\w.]+@[\w.]+"])
    assert hidden.redact("1111-2222, a@b.c") == "<secret:redact-1>, <secret:redact-2>"


def test_every_string_of_data_is_redacted_keys_too() -> None:
    data = {VALUE: [1, None, {"a": (VALUE, True)}]}
    label = "<secret:API_KEY>"
    assert hiding().redact_data(data) == {label: [1, None, {"a": [label, True]}]}


def disguised(value: str) -> dict[str, str]:
    raw = value.encode()
    return {
        **{f"base64-{n}": base64.b64encode(b"?" * n + raw + b"?").decode() for n in range(3)},
        **{f"safe-{n}": base64.urlsafe_b64encode(b"?" * n + raw).decode() for n in range(3)},
        "lines": base64.encodebytes(b"-" * 45 + raw).decode(),
        "url": quote(value, safe=""),
        "path": quote(value),
        "form": quote_plus(value),
        "lower": re.sub("%..", lambda code: code[0].lower(), quote(value, safe="")),
    }


@pytest.mark.parametrize("value", [VALUE, ODD], ids=["usual", "odd"])
@pytest.mark.parametrize("form", disguised(""))
def test_a_disguised_value_is_noticed(form: str, value: str) -> None:
    text = f"see {disguised(value)[form]}."
    hidden = hiding(value)
    assert hidden.leaked({"a": [text]}) == "API_KEY"
    assert hidden.leaked({text: 1}) == "API_KEY"


@pytest.mark.parametrize("form", [form for form in disguised("") if form != "lines"])
def test_a_disguised_value_is_not_shown(form: str) -> None:
    text = hiding().scrub(f"see {disguised(VALUE)[form]}.")
    assert "<secret:API_KEY>" in text
    assert hiding().leaked(text) is None


@pytest.mark.parametrize("mark", ["…", "..."], ids=["ours", "pytest"])
def test_pieces_of_a_cut_value_are_not_shown(mark: str) -> None:
    text = hiding().scrub(f"a {VALUE[:11]}{mark} b {mark}{VALUE[-11:]} c")
    assert text == f"a <secret:API_KEY>{mark} b {mark}<secret:API_KEY> c"


def test_nothing_leaks_where_nothing_is_known() -> None:
    assert Secrets.of({}, ["x+"]).leaked(VALUE) is None


def test_without_secrets_nothing_is_copied() -> None:
    prompt, data = Prompt("system", "text"), {"a": ["b"]}
    assert prompt.redacted(Secrets()) is prompt
    assert Secrets().redact_data(data) is data
    assert Secrets().scrub_data(data) is data


def test_without_secrets_a_request_shows_what_it_sends() -> None:
    @infer(intent="Say")
    def say(text: str) -> str: ...

    request = begin(say.question, {"text": "x"}, model="m", secrets=Secrets()).request
    assert request.shown is request.prompt
    assert request.site is say.question.site


def test_a_request_is_hashed_and_shown_without_its_secrets() -> None:
    def asked(value: str) -> Any:
        @infer(intent=f"Use {value}", context=value, params={"extra_body": {"token": value}})
        def say(text: str) -> str: ...

        return begin(say.question, {"text": value}, model="m", secrets=hiding(value)).request

    one, other = asked(VALUE), asked(ODD)
    assert (one.key, one.inputs, one.instructions) == (other.key, other.inputs, other.instructions)
    assert VALUE not in str((one.shown, one.instructions, one.site))
    assert VALUE in one.prompt.system
    assert one.params == {"extra_body": {"token": VALUE}}


@pytest.mark.parametrize("name", ["api_key", "aws_secret_access_key", "azure_ad_token"])
def test_credentials_in_params_are_not_in_the_key(name: str) -> None:
    @infer(intent="Say", params={name: VALUE})
    def say(text: str) -> str: ...

    request = begin(say.question, {"text": "x"}, model="m", secrets=Secrets()).request
    assert request.instructions["params"] == {}


def test_an_error_shows_no_secret_of_the_inputs() -> None:
    @infer(intent="Say", given=lambda text: not text)
    def say(text: str) -> str: ...

    with pytest.raises(PreconditionFailed, match=r'\(actual: "<secret:API_KEY>"\)') as caught:
        begin(say.question, {"text": VALUE}, model="m", secrets=hiding())
    assert caught.value.violations == ('given: not text (actual: "<secret:API_KEY>")',)


@pytest.mark.parametrize("answer", [[VALUE], VALUE], ids=["contract", "ensure"])
def test_an_error_shows_no_secret_of_the_answer(answer: Any) -> None:
    @infer(intent="Say", ensure=lambda r: not r, retries=0)
    def say(text: str) -> str: ...

    move = judge(begin(say.question, {"text": "x"}, model="m", secrets=hiding()), Reply(answer))
    assert isinstance(move, Settled)
    assert VALUE not in f"{move.error} {move.violations}"
    assert "<secret:API_KEY>" in str(move.error)


def test_a_value_is_replaced_before_a_violation_is_cut() -> None:
    @infer(intent="Say", ensure=lambda r, text: not text, retries=1)
    def say(text: str) -> str: ...

    def retried(value: str) -> Any:
        inputs = {"text": "a" * 100 + value + "b" * 100}
        return judge(begin(say.question, inputs, model="m", secrets=hiding(value)), Reply("x"))

    assert retried(VALUE).request.key == retried(VALUE * 3).request.key
