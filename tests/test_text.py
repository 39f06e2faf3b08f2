"""Text that people can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.text import diff_lines, escape, escape_lines, truncate


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[31m", r"\x1b[31m", id="escape"),
        pytest.param("a\x00\x07\x7f", r"a\x00\x07\x7f", id="bell-and-delete"),
        pytest.param("\x80\x9b", r"\x80\x9b", id="c1"),
        pytest.param("a\nb\rc\td", r"a\nb\rc\td", id="newlines-and-tabs"),
        pytest.param("\u202a\u202e\u2066\u2069", r"\u202a\u202e\u2066\u2069", id="bidi-ranges"),
        pytest.param("\u200e\u200f\u061c", r"\u200e\u200f\u061c", id="bidi-marks"),
        pytest.param("\u2028\u2029\ufeff", r"\u2028\u2029\ufeff", id="separators-and-bom"),
        pytest.param("\ud800\udfff", r"\ud800\udfff", id="lone-surrogates"),
    ],
)
def test_what_can_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("Grüße, 世界 🙂", id="other-scripts"),
        pytest.param("C:\\new", id="backslashes"),
        pytest.param("a\u00a0b\u200bc\u00ad", id="harmless-invisibles"),
        pytest.param("\u2027\u202f\u2065\u206a", id="neighbours-of-the-bidi-marks"),
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@given(st.text(st.characters(exclude_categories=[])))
def test_an_escaped_text_is_one_encodable_line_and_escapes_to_itself(text: str) -> None:
    shown = escape(text)
    assert len(shown.splitlines()) <= 1
    assert shown.encode().decode() == shown
    assert escape(shown) == shown


def test_escape_lines_keeps_only_the_newlines() -> None:
    assert escape_lines("a\x1b\r\n\tb\n") == "a\\x1b\\r\n\\tb\n"


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        pytest.param(5, "xxxxx", id="fits"),
        pytest.param(6, "xxxxx…", id="one-too-many"),
        pytest.param(104, "xxxxx…", id="not-worth-counting"),
        pytest.param(105, "xxxxx… (100 more characters)", id="worth-counting"),
        pytest.param(1_209, "xxxxx… (1,204 more characters)", id="thousands"),
    ],
)
def test_a_text_is_cut_at_the_limit(length: int, shown: str) -> None:
    assert truncate("x" * length, 5) == shown


def test_the_tail_can_be_chosen() -> None:
    assert truncate("abcdef", 2, tail=" [cut]") == "ab [cut]"


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        pytest.param("a\nb", "a\nb", [], id="equal"),
        pytest.param("a\nb", "a\nc", ["  a", "- b", "+ c"], id="changed"),
        pytest.param("", "a", ["+ a"], id="from-nothing"),
        pytest.param("a", "", ["- a"], id="to-nothing"),
        pytest.param(["a", "b"], ("a",), ["  a", "- b"], id="sequences"),
        pytest.param("a\n", "a", ["  a", "- "], id="final-newline"),
        pytest.param("a\u2028b", "a\u2028c", ["- a\u2028b", "+ a\u2028c"], id="newlines"),
    ],
)
def test_a_diff_shows_lines_with_their_signs(
    before: str | list[str], after: str | tuple[str, ...], shown: list[str]
) -> None:
    assert diff_lines(before, after) == shown


def test_changes_that_are_far_apart_are_separated() -> None:
    before = [str(n) for n in range(9)]
    after = ["zero", *before[1:8], "eight"]
    assert diff_lines(before, after, context=1) == [
        *("- 0", "+ zero", "  1"),
        "  …",
        *("  7", "- 8", "+ eight"),
    ]


def test_context_says_how_many_equal_lines_are_shown() -> None:
    before, after = list("abcdeX"), list("abcdeY")
    assert diff_lines(before, after, context=0) == ["- X", "+ Y"]
    assert diff_lines(before, after) == ["  d", "  e", "- X", "+ Y"]
