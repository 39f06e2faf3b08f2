"""What SPEC.md and README.md say is true: their blocks run."""

import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from stratum.testing.local_model import LocalModel

HOME = Path(__file__).parent.parent
SPEC = (HOME / "SPEC.md").read_text(encoding="utf-8")
README = (HOME / "README.md").read_text(encoding="utf-8")


def sections():
    for section in re.split(r"^## ", SPEC, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        if blocks:
            yield pytest.param(blocks, id=section.partition("\n")[0])


@pytest.mark.parametrize("blocks", list(sections()))
def test_the_blocks_of_the_specification_run(blocks, tmp_path):
    script = tmp_path / "block.py"
    script.write_text("import pytest\n" + "\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_block_of_the_specification_is_in_a_section():
    assert SPEC.count("```python") == sum(len(p.values[0]) for p in sections()) >= 8


@pytest.fixture(scope="module")
def tour(tmp_path_factory):
    """Walk the README's tour in a folder of its own: what was printed, by command."""
    folder = tmp_path_factory.mktemp("tour")
    steps = re.findall(r"<!-- (file|run|change): (.*?) -->\n```\w*\n(.*?)```", README, re.DOTALL)
    printed = []
    with LocalModel() as model:
        for kind, what, body in steps:
            if kind == "file":
                (folder / what).write_text(body, encoding="utf-8")
            elif kind == "change":
                name, _, change = what.partition(": ")
                before, after = change.split(" -> ")
                text = (folder / name).read_text(encoding="utf-8")
                (folder / name).write_text(text.replace(before, after), encoding="utf-8")
            else:
                url = model.base_url if "--stratum-record" in what else None
                printed.append((what, body, run(what, folder, url)))
    return printed


def run(command, folder, url):
    plain = "-p no:randomly -p no:asyncio -p no:cacheprovider -p no:rerunfailures"
    environ = {"PATH": os.environ["PATH"], "PYTEST_ADDOPTS": plain, "COLUMNS": "80"}
    if url:
        environ |= {"OPENAI_API_BASE": url, "OPENAI_API_KEY": "local"}
    module, *rest = shlex.split(command)
    module = "stratum.cli" if module == "stratum" else module
    done = subprocess.run(
        [sys.executable, "-m", module, *rest],
        cwd=folder, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


def without_time(text):
    return [re.sub(r"in \d+\.\d+s", "in N s", line).rstrip() for line in text.splitlines()]


def test_the_tour_prints_what_the_readme_says(tour):
    assert len(tour) == 4
    for command, said, printed in tour:
        missing = [line for line in without_time(said) if line not in without_time(printed)]
        assert not missing, f"{command} printed:\n{printed}"


def test_the_readme_holds_two_set_up_commands():
    found = re.search(r"<!-- set-up -->\n```\n(.*?)```\n<!-- end -->", README, re.DOTALL)
    assert found is not None
    first, second = found[1].strip().splitlines()
    assert first.endswith("pytest examples --stratum-replay")
    assert second.startswith("python -m pip install")


@pytest.mark.parametrize("example", sorted((HOME / "examples").glob("0*.py")), ids=lambda p: p.stem)
def test_an_example_runs_as_a_script(example, tmp_path):
    with LocalModel() as model, warnings.catch_warnings():
        environ = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": "local"}
        done = subprocess.run(
            [sys.executable, example], cwd=HOME, capture_output=True, text=True,
            input="send\n",  # where the example asks a person
            env=environ | {"OPENAI_API_BASE": model.base_url}, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_an_example_without_a_key_says_what_to_do():
    done = subprocess.run(
        [sys.executable, HOME / "examples" / "01_sentiment.py"],
        cwd=HOME, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "stratum local-model" in done.stderr
    assert "--stratum-replay" in done.stderr
    assert "Traceback" not in done.stderr
