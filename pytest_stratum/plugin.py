"""Record and replay LLM calls from pytest."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_stratum.fixtures import GoldenFlow, Traces
    from pytest_stratum.session import StratumSession

MODES = ("record", "record-all", "replay")
SESSION = pytest.StashKey["StratumSession"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stratum", "recorded LLM calls")
    for mode, text in (
        ("record", "ask for calls that are missing or have drifted, and write golden/"),
        ("record-all", "ask for every call of the selected tests anew, and write golden/"),
        ("replay", "answer every call from golden/; what is not recorded fails"),
    ):
        group.addoption(
            f"--stratum-{mode}", action="append_const", const=mode, dest="stratum_mode", help=text
        )
    group.addoption(
        "--stratum-prune",
        action="store_true",
        help="with record: remove what a complete run did not use from golden/",
    )
    group.addoption(
        "--stratum-report",
        action="append",
        metavar="PATH",
        dest="stratum_report",
        help="write what the run came to into a file that ends in .json or .md; may be repeated",
    )
    parser.addini(
        "stratum_report",
        "files as --stratum-report writes, one a line, below the rootdir; the command line wins",
        type="linelist",
        default=[],
    )
    parser.addini("stratum_mode", "record, record-all or replay; the command line wins", default="")
    parser.addini(
        "stratum_block_network",
        "under replay, refuse every connection that is not to this machine",
        type="bool",
        default=False,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Under replay, keep litellm off the network: projects import it, and it fetches prices."""
    asked = early_config.known_args_namespace.stratum_mode
    if "replay" in (asked or [early_config.getini("stratum_mode")]):
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        'stratum(mode="replay" | "live"): how this test\'s calls are answered when the command '
        "line does not say",
    )
    _mode(config)  # a contradiction is an error before anything runs
    _report_paths(config)


def _mode(config: pytest.Config) -> str | None:
    """Return the mode of the run: the command line's, else the ini file's."""
    asked = config.getoption("stratum_mode") or []
    if len(set(asked)) > 1:
        listed = " and ".join(f"--stratum-{mode}" for mode in dict.fromkeys(asked))
        raise pytest.UsageError(f"{listed} contradict each other; give one of them")
    ini = config.getini("stratum_mode")
    if ini and ini not in MODES:
        raise pytest.UsageError(f"stratum_mode = {ini!r}; it takes one of {', '.join(MODES)}")
    mode = asked[0] if asked else ini or None
    if config.getoption("stratum_prune") and mode not in ("record", "record-all"):
        raise pytest.UsageError("--stratum-prune goes with --stratum-record")
    return mode


def _report_paths(config: pytest.Config) -> list[Path]:
    """Return the files that the run is reported in: the command line's, else the ini file's."""
    asked = config.getoption("stratum_report")
    folder = config.invocation_params.dir if asked else config.rootpath
    paths = [folder / name for name in asked or config.getini("stratum_report")]
    for path in paths:
        if path.suffix not in (".json", ".md"):
            raise pytest.UsageError(f"stratum_report {path}: its name should end in .json or .md")
    return paths


def _marked(node: Any) -> str | None:
    """Return the mode that a marker asks for, when the command line gives none.

    `node` is a test, or what a fixture's scope spans.
    """
    if node.config.option.stratum_mode:
        return None
    marker = node.get_closest_marker("stratum")
    if marker is None:
        return None
    mode = marker.kwargs.get("mode")
    if marker.args or set(marker.kwargs) != {"mode"} or mode not in ("replay", "live"):
        raise pytest.UsageError(
            f'{node.nodeid}: write @pytest.mark.stratum(mode="replay") or mode="live"'
        )
    return str(mode)


def _session(config: pytest.Config, *, needed: bool = False) -> StratumSession | None:
    """Return the run's state, made when a mode or a fixture needs it or calls can happen."""
    found = config.stash.get(SESSION, None)
    if found is not None:
        return found
    mode = _mode(config)
    if mode is None and not needed and "stratum.scope" not in sys.modules:
        return None
    from pytest_stratum.session import StratumSession

    session = config.stash[SESSION] = StratumSession(config, mode)
    session.start()
    return session


def pytest_sessionstart(session: pytest.Session) -> None:
    if _mode(session.config) or _report_paths(session.config):
        _session(session.config, needed=True)


def pytest_report_header(config: pytest.Config) -> str | None:
    session = _session(config) if _mode(config) else None
    return session.header() if session else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    session = collector.config.stash.get(SESSION, None)
    if session is None:
        return (yield)
    with session.collection(collector.nodeid):
        report = yield
    _make_fit(collector.config, report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: Any, request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    marked = _marked(request.node)
    session = _session(request.config, needed=marked == "replay")
    if session is None:
        return (yield)
    item = getattr(request, "_pyfuncitem", None)
    return (yield from session.fixture(fixturedef, item, marked))


def pytest_fixture_post_finalizer(fixturedef: Any, request: pytest.FixtureRequest) -> None:
    session = request.config.stash.get(SESSION, None)
    if session is not None:
        session.fixture_ended(fixturedef)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    marked = _marked(item)
    session = _session(item.config, needed=marked == "replay")
    if session is None:
        return (yield)
    return (yield from session.phase(item, "setup", marked))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    session = _session(item.config)
    if session is None:
        return (yield)
    phase: Generator[None, object, object] = session.phase(item, "call", _marked(item))
    function = getattr(item, "obj", None)
    if not inspect.iscoroutinefunction(function) or hasattr(function, "hypothesis"):
        return (yield from phase)
    item.obj = session.claiming(function)  # type: ignore[attr-defined]
    try:
        return (yield from phase)
    finally:
        item.obj = function  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    session = item.config.stash.get(SESSION, None)
    if session is None:
        return (yield)
    return (yield from session.phase(item, "teardown", _marked(item)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    session = item.config.stash.get(SESSION, None)
    if session is not None and item.config.getoption("xmlpath", None):
        from pytest_stratum.junit import describe

        describe(item, session)
    report = yield
    if session is not None and report.when == "call":
        session.called(item, report)
    _make_fit(item.config, report)
    if session is not None and report.when == "teardown":
        session.ended(item)
    return report


def _make_fit(config: pytest.Config, report: pytest.TestReport | pytest.CollectReport) -> None:
    session = config.stash.get(SESSION, None)
    if session is None or session.mode is None or not (report.longrepr or report.sections):
        return
    from pytest_stratum.hiding import hide

    terminal = config.pluginmanager.get_plugin("terminalreporter")
    hide(report, coloured=terminal is None or terminal.hasmarkup)


@pytest.hookimpl(specname="pytest_runtest_makereport")
def pytest_show_the_users_lines(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Trim the traceback just before the report is made of it, unless `--full-trace` is on."""
    session = item.config.stash.get(SESSION, None)
    if session is None or call.excinfo is None or item.config.getoption("fulltrace"):
        return
    from pytest_stratum.frames import trim

    trim(call.excinfo.value)
    call.excinfo = pytest.ExceptionInfo.from_exception(call.excinfo.value)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None:
        session.progress.collected = len(items)


def pytest_deselected(items: list[pytest.Item]) -> None:
    if items:
        session = items[0].config.stash.get(SESSION, None)
        if session is not None:
            session.progress.whole = False


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    state = session.config.stash.get(SESSION, None)
    if state is None:
        return
    state.finish(int(exitstatus))
    output = getattr(session.config, "workeroutput", None)  # to the controller of xdist
    if output is not None:
        output["stratum"] = state.as_data()
    broken = state.report.blocks or state.report.errors
    if broken and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    _publish(state, session)


def _publish(state: StratumSession, session: pytest.Session) -> None:
    """Write the report files, and the summary of a step of GitHub Actions."""
    paths = _report_paths(session.config)
    if hasattr(session.config, "workerinput") or not (paths or _on_github()):
        return
    from pytest_stratum.report_files import publish

    publish(state, int(session.exitstatus), paths)


def _on_github() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    data = getattr(node, "workeroutput", {}).get("stratum")
    session = _session(node.config, needed=bool(data))
    if session is not None:
        session.worker_ended(data)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    session = node.config.stash.get(SESSION, None)
    if session is not None and session.recorder is not None:
        node.workerinput["stratum_run"] = session.recorder.run


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is None:
        return
    if _on_github():
        from pytest_stratum.annotations import show

        show(session, terminalreporter, int(exitstatus))
        return
    session.report.print(terminalreporter, session.mode)


def pytest_unconfigure(config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None:
        session.stop()


@pytest.fixture
def traces(request: pytest.FixtureRequest) -> Traces:
    """This test's trace records so far; `assert traces == golden` compares their tree."""
    from pytest_stratum.fixtures import Traces

    session = _session(request.config, needed=True)
    assert session is not None
    return Traces(session, request.node)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Any:
    """A snapshot of this test in `golden/flows`: `assert value == golden`."""
    from pytest_stratum.golden import golden_assertion

    session = _session(request.config, needed=True)
    assert session is not None
    return golden_assertion(request, session)


@pytest.fixture
def golden_flow(golden: Any, request: pytest.FixtureRequest) -> GoldenFlow:
    """Run a flow and compare its trace and result: `await golden_flow(flow, text=...)`."""
    from pytest_stratum.fixtures import GoldenFlow

    session = _session(request.config, needed=True)
    assert session is not None
    return GoldenFlow(session, request.node, golden)
