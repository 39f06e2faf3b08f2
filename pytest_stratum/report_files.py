"""Write what a run came to into files: those of `--stratum-report`, the summary of a CI step."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pytest_stratum.markdown import markdown
from pytest_stratum.run_report import RunReport, run_report
from pytest_stratum.session import StratumSession
from stratum.errors import RecordingError
from stratum.recording.files import write_atomic
from stratum.text import escape

MOST_SUMMARY = 900_000  # bytes; GitHub refuses a step's summary over 1 MiB

FORMS: dict[str, Callable[[RunReport], str]] = {
    ".json": lambda run: run.model_dump_json(indent=1) + "\n",
    ".md": markdown,
}


def publish(session: StratumSession, exit_code: int, paths: Iterable[Path]) -> None:
    """Write all files of a run; what cannot be written is a warning in its report."""
    run = run_report(session, exit_code)
    session.report.warnings += [*_write(run, paths), *_append_summary(run)]


def _write(run: RunReport, paths: Iterable[Path]) -> Iterator[str]:
    """Write each file whole, in the form that its ending says; yields why one was not."""
    for path in paths:
        try:
            write_atomic(path, FORMS[path.suffix](run))
        except RecordingError as error:
            yield f"the report was not written: {escape(str(error))}"


def _append_summary(run: RunReport) -> Iterator[str]:
    """Add the run to the file that GitHub Actions takes a step's summary from."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name or os.environ.get("GITHUB_ACTIONS") != "true" or not run.says_something:
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(markdown(run, MOST_SUMMARY) + "\n")
    except OSError as error:
        yield f"the step's summary was not written ({error.strerror or error}): {escape(name)}"
