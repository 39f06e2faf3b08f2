"""Time several ways side by side, in rounds that interleave them."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """Seconds of one piece of work: by the clock, of the processor, and peak memory in MB."""

    wall: float
    cpu: float
    peak: float = 0.0

    def each(self, calls: int) -> "Spent":
        """Return what one of so many calls took."""
        return Spent(self.wall / calls, self.cpu / calls, self.peak)


def timed(work: Callable[[], object]) -> Spent:
    """Run work in this process; the processor's time is of all its threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def child(arguments: Sequence[str], *, cwd: str | None = None, **environ: str) -> Spent:
    """Run Python in a process of its own; raises when it fails.

    The environment is ours, with compiled files written as usual and `environ` added.
    """
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**inherited, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{said}")
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_rounds(
    works: Mapping[str, Callable[[], Spent]], *, rounds: int, unmeasured: int = 1
) -> dict[str, list[Spent]]:
    """Return what each piece of work took in each round, after `unmeasured` ones that warm up.

    Every round runs all of them, so that a busy machine slows all alike.
    """
    for work in list(works.values()) * unmeasured:
        work()
    seen: dict[str, list[Spent]] = {name: [] for name in works}
    for number in range(rounds):
        order = list(works.items())
        for name, work in order if number % 2 else reversed(order):
            seen[name].append(work())
    return seen


def interleaved(
    works: Mapping[str, Callable[[], Spent]], *, rounds: int, unmeasured: int = 1
) -> dict[str, Spent]:
    """Return the median of each piece of work over the rounds."""
    seen = in_rounds(works, rounds=rounds, unmeasured=unmeasured)
    return {name: median(spent) for name, spent in seen.items()}


def median(spent: Sequence[Spent]) -> Spent:
    return Spent(
        statistics.median(each.wall for each in spent),
        statistics.median(each.cpu for each in spent),
        statistics.median(each.peak for each in spent),
    )


UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0}


def table(spent: Mapping[str, Spent], *, unit: str) -> None:
    """Print a line for each piece of work."""
    scale = UNITS[unit]
    print(f"{'':66} {'wall ' + unit:>10} {'cpu ' + unit:>10}")
    for name, each in spent.items():
        print(f"{name:66} {each.wall * scale:10.2f} {each.cpu * scale:10.2f}")


def ratio(label: str, ours: Spent, theirs: Spent, target: str = "") -> None:
    """Print ours / theirs, by the clock and of the processor."""
    aim = f"   target {target}" if target else ""
    wall, cpu = ours.wall / theirs.wall, ours.cpu / theirs.cpu
    print(f"ratio {label:60} {wall:10.4f} {cpu:10.4f}{aim}")
