"""What `import stratum` loads and offers."""

import pkgutil
import subprocess
import sys

import stratum
from tests.support import clean_environment

HEAVY = ("litellm", "mcp", "yaml", "diskcache", "pytest", "syrupy", "httpx", "openai")
# Of the standard library and our own: what few programs need, or only at their first call.
LATER = (
    "difflib",
    "random",
    "sqlite3",
    "tomllib",
    "stratum.flow_analysis",
    "stratum.problems",
    "stratum.recording.golden",
    "stratum.schema_diff",
    "stratum.turns",
    *stratum._LATER.values(),
)
PYDANTIC = {
    "annotated_types",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
}


def in_a_new_process(text: str) -> str:
    command = [sys.executable, "-W", "error", "-c", text]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_pydantic_and_the_standard_library_only() -> None:
    text = "import sys, stratum; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(in_a_new_process(text).split()) - sys.stdlib_module_names
    foreign = {name for name in loaded if not name.startswith("_")}  # of Python, or of installers
    assert foreign - PYDANTIC == {"stratum"}


def test_no_heavy_package_is_loaded_with_it() -> None:
    text = f"import sys, stratum; print(*[n for n in {HEAVY!r} if n in sys.modules])"
    assert in_a_new_process(text).split() == []


def test_of_the_standard_library_it_loads_what_pydantic_asyncio_and_inspect_do() -> None:
    text = (
        "import asyncio, inspect, sys\n"
        "from pydantic import BaseModel, TypeAdapter\n"
        "before = set(sys.modules)\n"
        "import stratum\n"
        "print(*[n for n in set(sys.modules) - before if n.partition('.')[0] != 'stratum'])"
    )
    assert in_a_new_process(text).split() == [], "json and hashlib wait for a first digest"


def test_what_few_programs_need_is_not_loaded_with_it() -> None:
    names = set(LATER) - {"pydantic"}
    text = f"import sys, stratum; print(*[n for n in {names!r} if n in sys.modules])"
    assert in_a_new_process(text).split() == []


def test_every_public_name_resolves_and_only_its_own_package_is_loaded() -> None:
    text = (
        "import sys, stratum\n"
        "for name in stratum.__all__: assert getattr(stratum, name) is not None, name\n"
        f"print(*[n for n in {HEAVY!r} if n in sys.modules])"
    )
    assert in_a_new_process(text).split() == [], "clients wait for their first call"


def test_public_names_are_sorted_and_unique() -> None:
    assert list(stratum.__all__) == sorted(set(stratum.__all__))


def test_a_misspelt_name_is_an_attribute_error() -> None:
    assert not hasattr(stratum, "inferr")


def test_names_that_are_loaded_later_are_listed_and_kept() -> None:
    text = (
        "import stratum\n"
        "assert set(stratum.__all__) <= set(dir(stratum))\n"
        "assert 'FileSink' not in vars(stratum)\n"
        "assert stratum.FileSink is vars(stratum)['FileSink']"
    )
    assert in_a_new_process(text) == ""


def test_no_module_takes_the_place_of_a_name_that_is_loaded_later() -> None:
    modules = {module.name for module in pkgutil.iter_modules(stratum.__path__)}
    assert modules & set(stratum._LATER) == set()


def test_every_name_that_is_loaded_later_is_public() -> None:
    assert set(stratum._LATER) <= set(stratum.__all__)
