"""Look into a project's source files, in a child process."""

import importlib
import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from stratum.calls import instructions
from stratum.errors import ConfigurationError
from stratum.infer import Infer
from stratum.scope import process, secrets, settings
from stratum.settings import load

TIME_LIMIT = 60.0  # seconds for all files together


@dataclass(frozen=True, slots=True)
class Described:
    """An `@infer` function as its source file defines it now."""

    source: str
    function: str
    line: int
    contract: str
    schema: Any
    instructions: Any


@dataclass(frozen=True, slots=True)
class Unloadable:
    """A source file that cannot be imported, and why."""

    source: str
    why: str


def describe(
    sources: Sequence[str], root: Path, *, time_limit: float = TIME_LIMIT
) -> Iterator[Described | Unloadable]:
    """Import source files below `root` in a child process, and yield what they define.

    The child has no network and a time limit; a file that fails, or was not reached in
    time, is `Unloadable`. Nothing of the user's code runs in this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers"
        answers.touch()
        ended = _run_child([str(root), str(answers), *sources], root, time_limit)
        told: set[str] = set()
        for line in answers.read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)
            told.add(answer["source"])
            if "why" in answer:
                yield Unloadable(**answer)
            elif "function" in answer:
                yield Described(**answer)
    for source in sources:
        if source not in told:
            yield Unloadable(source, ended)


def _run_child(arguments: list[str], root: Path, time_limit: float) -> str:
    """Run the child, and return in words how it ended."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stratum.project", *arguments],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=time_limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"importing took longer than {time_limit:g} seconds"
    last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"the import ended the process with code {done.returncode} {last}".rstrip()


def _main(arguments: Sequence[str]) -> None:
    """Be the child: import each file, and write a line for each function."""
    root, answers, *sources = arguments
    process.settings = load(Path(root))
    process.no_live_calls = "calls are off while `stratum drift` imports the project's files."
    socket.socket.connect = _no_network  # type: ignore[method-assign]
    sys.path[:0] = [root]
    with Path(answers).open("a", encoding="utf-8") as out:
        for source in sources:
            for answer in _answers(source, Path(root)):
                out.write(json.dumps({"source": source, **answer}) + "\n")
            out.flush()


def _no_network(*_: Any) -> None:
    raise ConnectionRefusedError("stratum drift imports files without network")


def _answers(source: str, root: Path) -> Iterator[dict[str, Any]]:
    path = root / source
    try:
        module = _load(path)
    except (Exception, SystemExit) as error:
        yield {"why": secrets().scrub(f"{type(error).__name__}: {error}")}
        return
    yield {}
    for found in _functions(vars(module).values(), str(path)):
        question = found.question
        model = question.model or process.model or settings().model
        yield {
            "function": question.site.function,
            "line": question.site.line,
            "contract": question.contract.hash,
            "schema": question.contract.schema,
            "instructions": secrets().redact_data(
                instructions(question.site, model, question.params, question.wire)
            ),
        }


def _load(path: Path) -> ModuleType:
    """Import a file under the name that the project itself imports it by."""
    top, names = path.parent, [path.stem]
    while (top / "__init__.py").exists():
        names.insert(0, top.name)
        top = top.parent
    if names[-1] == "__init__":
        names.pop()
    if str(top) not in sys.path:
        sys.path.insert(0, str(top))
    if all(name.isidentifier() for name in names):
        module = importlib.import_module(".".join(names))
        if Path(module.__file__ or "").resolve() == path.resolve():
            return module
    return _load_alone(path)


def _load_alone(path: Path) -> ModuleType:
    name = f"_stratum_project_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _functions(values: Iterable[Any], file: str) -> Iterator[Infer[Any, Any]]:
    """Yield the `@infer` functions that this file defines, those of its classes too."""
    for value in list(values):
        if isinstance(value, Infer):
            if Path(value.question.site.file).resolve() == Path(file).resolve():
                yield value
        elif isinstance(value, type) and hasattr(value, "__dict__"):
            yield from (f for f in vars(value).values() if isinstance(f, Infer))
        elif isinstance(value, (staticmethod, classmethod)):
            yield from _functions([value.__func__], file)


if __name__ == "__main__":
    _main(sys.argv[1:])
