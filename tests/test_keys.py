"""What a call's key is made of: all that can shape the answer, and nothing else."""

import importlib.util
import shutil
import sys
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratum import calls, infer
from stratum.calls import UNKEYED, call_key
from stratum.hashing import canonical, digest
from tests.scripted import answering
from tests.support import LIVE, NOTE, asked, files_below, noted, project

SOURCE = '''
from typing import Annotated, Literal
from stratum import Budget, Field, contract, infer

@contract
class Verdict:
    """How good it is."""
    label: Annotated[Literal["good", "bad"], Field(description="the tone")]
    sure: Annotated[float, Field(ge=0)]

@infer(
    intent="Judge the text",
    context="Be strict.",
    model="test/model",
    temperature=0.2,
    params={"seed": 7, "timeout": 30},
    ensure=lambda r: r.sure > 0.5,
    given=lambda text: text != "",
    retries=2,
)
def judge(text: str, tags: list[str]) -> Verdict:
    """Say how good the text is."""

def call():
    return judge.run(text="fine", tags=["a", "b"])
'''

UNSURE, SURE = {"label": "good", "sure": 0.1}, {"label": "good", "sure": 0.9}

_numbers = count()


def keys_of(folder: Path, source: str = SOURCE) -> list[str]:
    """Return the keys of the call's two attempts; the first answer breaks a condition."""
    with answering(UNSURE, SURE) as client:
        loaded(folder, source).call()
    return [request.key for request in client.requests]


def loaded(folder: Path, source: str) -> ModuleType:
    name = f"judged_{next(_numbers)}"
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    del sys.modules[name]
    return module


def changed(old: str, new: str) -> str:
    assert old in SOURCE
    return SOURCE.replace(old, new)


FIELDS = """\
    label: Annotated[Literal["good", "bad"], Field(description="the tone")]
    sure: Annotated[float, Field(ge=0)]
"""
SWAPPED = "".join(reversed(FIELDS.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("Judge the text", "Judge this text", id="intent"),
        pytest.param("Be strict.", "Be kind.", id="context"),
        pytest.param('context="Be strict.",', "", id="no-context"),
        pytest.param('text="fine"', 'text="fine "', id="input"),
        pytest.param('["a", "b"]', '["b", "a"]', id="order-of-a-list"),
        pytest.param("text: str, tags: list[str]", "tags: list[str], text: str", id="input-order"),
        pytest.param("tags", "labels", id="name-of-an-input"),
        pytest.param("list[str])", "list[str], n: int = 1)", id="new-input"),
        pytest.param("    sure:", "    why: str = ''\n    sure:", id="added-field"),
        pytest.param('"good", "bad"', '"good", "bad", "so"', id="widened-field"),
        pytest.param('"good", "bad"', '"bad", "good"', id="order-of-a-literal"),
        pytest.param("Field(ge=0)", "Field(gt=0)", id="limit-of-a-field"),
        pytest.param("the tone", "the mood", id="description-of-a-field"),
        pytest.param(FIELDS, SWAPPED, id="order-of-fields"),
        pytest.param("test/model", "test/model-2", id="model"),
        pytest.param("temperature=0.2", "temperature=0.3", id="temperature"),
        pytest.param('"seed": 7', '"seed": 8', id="param"),
        pytest.param('"seed": 7', '"seed": 7, "top_p": 1', id="new-param"),
        pytest.param('"seed": 7', '"seed": 7, "fallbacks": ["b/c"]', id="fallbacks"),
        pytest.param("retries=2", "retries=2, max_tokens=50", id="max-tokens"),
        pytest.param("retries=2", 'retries=2, wire="prompt"', id="wire"),
    ],
)  # fmt: skip
def test_a_change_that_can_shape_the_answer_misses(tmp_path: Path, old: str, new: str) -> None:
    assert not set(keys_of(tmp_path, changed(old, new))) & set(keys_of(tmp_path))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("Say how good the text is.", "Judge it.", id="docstring"),
        pytest.param("How good it is.", "A verdict.", id="docstring-of-the-contract"),
        pytest.param("Verdict", "Judgement", id="name-of-the-contract"),
        pytest.param("judge", "assess", id="name-of-the-function"),
        pytest.param("\n@infer", "\n\n# A comment that moves it.\n\n@infer", id="line"),
        pytest.param("r: r.sure > 0.5", "r: (  r.sure >\n        0.5)", id="layout-of-a-condition"),
        pytest.param('text="fine", tags=["a", "b"]', 'tags=["a", "b"], text="fine"', id="kwargs"),
        pytest.param('text="fine", tags=["a", "b"]', '"fine", ["a", "b"]', id="positional"),
        pytest.param('["a", "b"])', '("a", "b"))', id="tuple-for-list"),
        pytest.param('"seed": 7, "timeout": 30', '"timeout": 5, "seed": 7', id="params"),
        pytest.param('text != ""', "len(text) > 0", id="given"),
        pytest.param("retries=2", "retries=5", id="retries"),
        pytest.param("retries=2", "budget=Budget(usd=1)", id="budget"),
        pytest.param('"Judge the text"', '"Judge " "the text\\n"', id="layout-of-the-intent"),
    ],
)
def test_a_change_that_cannot_shape_the_answer_hits(tmp_path: Path, old: str, new: str) -> None:
    assert keys_of(tmp_path, changed(old, new)) == keys_of(tmp_path)


def test_a_changed_condition_misses_from_the_retry_on(tmp_path: Path) -> None:
    first, second = keys_of(tmp_path)
    new_first, new_second = keys_of(tmp_path, changed("r.sure > 0.5", "r.sure > 0.6"))
    assert new_first == first
    assert new_second != second


@pytest.mark.parametrize("name", sorted(UNKEYED))
def test_who_asks_where_and_how_patiently_is_not_in_the_key(name: str) -> None:
    @infer(intent="Say something", model="test/model")
    def say(text: str) -> str: ...

    with answering("plain", "with") as client:
        say.run(text="a")
        say.with_(params={name: "any value"}).run(text="a")
    plain, told = client.requests
    assert told.params == {name: "any value"}
    assert told.key == plain.key
    assert told.instructions == plain.instructions


@infer(intent="Sort these", model="test/model")
def sort(value: Any) -> str: ...


def key_of(value: Any) -> str:
    with answering("sorted") as client:
        sort.run(value=value)
    return client.requests[0].key


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text("abc"), VALUES, min_size=2), st.randoms(use_true_random=False))
def test_the_order_in_a_dictionary_is_not_in_the_key(value: dict[str, Any], chance: Any) -> None:
    names = chance.sample(list(value), len(value))
    assert key_of({name: value[name] for name in names}) == key_of(value)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_other_inputs_have_another_key(one: Any, other: Any) -> None:
    assert (key_of([one]) == key_of([other])) is (canonical(one) == canonical(other))


NUMBERED = f"""{LIVE}

def answer(request):
    number = len(asked())
    if "Rate" in request.shown.system:
        return {{"value": number if request.attempt else 0}}
    return {{"value": f"{{request.shown.text}}, answer {{number}}"}}


def asked():
    return Path(__file__).with_name("asked.txt").read_text(encoding="utf-8").splitlines()
"""

APP = """
    from stratum import infer

    @infer(intent="Say something")
    def say(text: str, loud: bool = False) -> str: ...

    class Judge:
        @infer(intent="Rate the text", ensure=lambda r: r > 0)
        def rate(self, text: str) -> int: ...
"""

SUITE = """
    import pytest
    from app import Judge, say

    @pytest.mark.parametrize("text", ["a", "b"])
    def test_said(text, note):
        note(say.run(text=text, loud=True))

    def test_rated(note):
        note(Judge().rate.run(text="a"))
"""

MOVED = '''
    from stratum import infer

    class Critic:
        """Rates texts."""

        @infer(
            intent="Rate the text",
            ensure=lambda r: (
                r  >  0
            ),
        )
        def grade(self, text: str) -> int:
            """Grade it."""

    @infer(intent="Say something")
    def tell(text: str, loud: bool = False) -> str: ...
'''

SUITE_AFTER = """
    import pytest
    from lib.words import Critic, tell

    def test_graded(note):
        note(Critic().grade.run(text="a"))

    @pytest.mark.parametrize("text", ["b", "a"], ids=["second", "first"])
    def test_told(text, note):
        note(tell.run(loud=True, text=text))
"""


def run(folder: Path, *args: str) -> set[str]:
    """Run the suite, and return what was said, whichever test it was."""
    return {each.partition(": ")[2] for each in noted(folder, *args)}


def test_what_was_renamed_moved_and_reordered_is_replayed_and_comes_home(tmp_path: Path) -> None:
    files = {"conftest.py": NUMBERED + NOTE, "app.py": APP, "test_it.py": SUITE}
    recorded = run(project(tmp_path, files), "--stratum-record")
    for name in ("app.py", "test_it.py"):
        (tmp_path / name).unlink()
    project(tmp_path, {"lib/words.py": MOVED, "test_after.py": SUITE_AFTER})
    assert run(tmp_path, "--stratum-replay") == recorded

    questions = asked(tmp_path)
    assert run(tmp_path, "--stratum-record") == recorded
    assert asked(tmp_path) == questions
    shutil.rmtree(tmp_path / "golden/recordings/app.py")
    home = "golden/recordings/lib/words.py"
    assert list(files_below(tmp_path / home)) == ["+critic.grade.json", "tell.json"]
    assert run(tmp_path, "--stratum-replay") == recorded


def test_part_of_what_was_moved_can_come_home_first(tmp_path: Path) -> None:
    suite = """
    from app import say
    from stratum import parallel

    def test_plain(note):
        note(say.run(text="a"))

    def test_branched(note):
        note(parallel(say(text="a")).run()[0])
    """
    files = {"conftest.py": NUMBERED + NOTE, "app.py": APP, "test_it.py": suite}
    recorded = run(project(tmp_path, files), "--stratum-record")
    project(tmp_path, {"home.py": APP, "test_it.py": suite.replace("from app", "from home")})
    run(tmp_path, "--stratum-record", "-k", "branched")
    assert run(tmp_path, "--stratum-replay") == recorded
    assert len(asked(tmp_path)) == 2


def test_the_key_is_of_the_parameters_as_they_are_now() -> None:
    stop = ["a"]

    @infer(intent="Say something", model="test/model", params={"stop": stop})
    def say(text: str) -> str: ...

    with answering("b", "c") as client:
        say.run(text="x")
        stop.append("b")
        say.run(text="x")
    before, after = client.requests
    assert (before.key != after.key, after.settings) == (True, {"stop": ["a", "b"]})


def test_a_secret_that_turns_up_later_is_in_no_later_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = "sk-1234567890abcdef"

    @infer(intent=f"Say {value}", model="test/model", params={"user_tag": value})
    def say(text: str) -> str: ...

    with answering("b", "c", "d") as client:
        say.run(text="x")
        monkeypatch.setenv("LATE_API_KEY", value)
        say.run(text="x")
        monkeypatch.delenv("LATE_API_KEY")
        say.run(text="x")
    before, hidden, after = client.requests
    assert before.key == after.key != hidden.key
    label = "<secret:LATE_API_KEY>"
    assert (hidden.site.intent, hidden.shown.system) == (f"Say {label}", f"Say {label}")
    assert (hidden.settings, hidden.prompt.system) == ({"user_tag": label}, f"Say {value}")


@pytest.mark.parametrize("params", [{}, {"seed": 7}, {"stop": ['"', "é"], "timeout": 3}], ids=str)
@pytest.mark.parametrize("model", ["a/b", 'odd "model" é'], ids=["usual", "odd"])
def test_the_key_is_the_digest_of_all_its_parts(model: str, params: dict[str, Any]) -> None:
    digests = digest("contract"), digest("prompt")
    expected = call_key(*digests, model, params, "auto")
    assert calls.keys_of(digests[0], model, params, "auto")(digests[1]) == expected
