"""What `import stratum` loads and offers."""

import subprocess
import sys

import stratum
from tests.support import clean_environment

HEAVY = ("litellm", "mcp", "yaml", "diskcache", "pytest", "syrupy", "httpx", "openai")
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
