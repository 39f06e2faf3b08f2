"""Where reviews are shown to people."""

from typing import Any

from stratum.reviews import ReviewSink


def sink_of(given: Any) -> ReviewSink:
    """Return the sink that was named: itself, around a function, or the terminal for None."""
    if given is None:
        from stratum.sinks.console import ConsoleSink

        return ConsoleSink()
    if hasattr(given, "submit"):
        sink: ReviewSink = given
        return sink
    from stratum.sinks.calling import CallableSink

    return CallableSink(given)
