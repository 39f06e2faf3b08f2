"""What holds for all tests."""

import asyncio
import signal
import sys
from collections.abc import Iterator

import pytest

from stratum.blocking import background_loop
from stratum.clients.connections import close_connections


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start, also where a shell made us ignore it.

    One that has no job control does so for what it starts in the background.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def closed_connections() -> Iterator[None]:
    """Close what a test opened on the background loop, which lives as long as the process.

    Each test has servers at ports of their own, so litellm would keep hundreds of clients, and
    drop the oldest ones open.
    """
    yield
    litellm = sys.modules.get("litellm")
    if litellm is not None:
        asyncio.run_coroutine_threadsafe(close_connections(litellm), background_loop()).result(60)
