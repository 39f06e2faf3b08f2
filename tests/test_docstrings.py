"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import stratum
from stratum.scope import process

NAMES = sorted(
    each.name
    for each in pkgutil.walk_packages(stratum.__path__, "stratum.")
    if not each.name.endswith("__main__")
)


def examples(module: ModuleType) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return [each for each in found if each.examples]


@pytest.fixture
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the process configured as it was."""
    for name in ("client", "model", "sink"):
        monkeypatch.setattr(process, name, getattr(process, name))


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_run(name: str) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in examples(importlib.import_module(name)):
        runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_public_functions_and_classes_have_an_example() -> None:
    public = {name: getattr(stratum, name) for name in stratum.__all__}
    ours = {
        name: value
        for name, value in public.items()
        if getattr(value, "__module__", "").startswith("stratum") and name != "opaque"
    }
    exceptions = {n for n, v in ours.items() if isinstance(v, type) and issubclass(v, Exception)}
    assert (
        sorted(
            name
            for name, value in ours.items()
            if name not in exceptions and ">>>" not in (value.__doc__ or "")
        )
        == []
    )
