"""Every numbered paragraph of SPEC.md that says MUST has a test with its number in its name."""

import ast
import re
from pathlib import Path

import pytest

HOME = Path(__file__).parent
SPEC = (HOME.parent.parent / "SPEC.md").read_text(encoding="utf-8")

_NUMBER = re.compile(r"(?m)^(\d+(?:\.\d+)+)(?= )")
_TEST = re.compile(r"test_((?:\d+_)+)(?!\d)")


def paragraphs(text: str) -> dict[str, str]:
    """Return the numbered paragraphs, without headings and blocks of code.

    What follows a paragraph up to the next number, such as a table, belongs to it.
    """
    prose = re.sub(r"(?ms)^```.*?^```$", "", text)
    found: dict[str, str] = {}
    for section in re.split(r"(?m)^#+ .*$", prose):
        _, *parts = _NUMBER.split(section)
        for number, body in zip(parts[::2], parts[1::2], strict=True):
            assert number not in found, f"two paragraphs are {number}"
            found[number] = body
    return found


def musts(text: str) -> list[str]:
    return [number for number, body in paragraphs(text).items() if re.search(r"\bMUST\b", body)]


def named_in(folder: Path) -> set[str]:
    """Return the numbers in the names of the tests below a folder, read but not imported."""
    found = set()
    for path in folder.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                name = _TEST.match(node.name)
                if name:
                    found.add(name[1].rstrip("_").replace("_", "."))
    return found


TESTED = named_in(HOME)


@pytest.mark.parametrize("number", musts(SPEC))
def test_a_paragraph_that_says_must_has_a_test(number: str) -> None:
    assert number in TESTED, (
        f"SPEC {number} says MUST; write test_{number.replace('.', '_')}_<statement> in "
        f"tests/conformance/"
    )


def test_no_test_is_of_a_paragraph_that_is_no_more() -> None:
    assert TESTED - paragraphs(SPEC).keys() == set()


def test_paragraphs_are_found() -> None:
    text = (
        "## 1. A\n\n1.1 It MUST.\n\nNote.\n\n1.2 May.\n```\n1.9 MUST\n```\n### 2.1 B\n\n2.1.1 MUST"
    )
    assert paragraphs(text).keys() == {"1.1", "1.2", "2.1.1"}
    assert musts(text) == ["1.1", "2.1.1"]
    assert len(musts(SPEC)) >= 60


def test_the_number_of_a_name_is_all_of_it(tmp_path: Path) -> None:
    text = "def test_2_10_3_a_word() -> None: ...\ndef test_4_1() -> None: ...\n"
    (tmp_path / "test_x.py").write_text(text, encoding="utf-8")
    assert named_in(tmp_path) == {"2.10.3"}
