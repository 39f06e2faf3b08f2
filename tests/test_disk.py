import json
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from stratum.errors import RecordingError
from stratum.recording.disk import DiskCache, Row

VALUE = {"b": [1, 2.5, None, True], "a": {"text": "é\u2028\ud800"}}


class Bomb:
    """A pickle that makes a file when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[DiskCache]:
    with closing(DiskCache(tmp_path / "cache")) as opened:
        yield opened


def sql(cache: DiskCache, statement: str, *values: Any) -> None:
    """Change the database as somebody else would."""
    cache.close()
    with closing(sqlite3.connect(cache.folder / "cache.db")) as connection, connection:
        connection.execute(statement, values)


def run(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    prelude = "import sys; from pathlib import Path; from stratum.recording.disk import DiskCache\n"
    command = [sys.executable, "-c", prelude + script, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_value_comes_back_in_its_order(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    found = cache.get("k").value
    assert (found, list(found or {})) == (VALUE, ["b", "a"])


def test_a_value_outlives_its_process(cache: DiskCache) -> None:
    script = "DiskCache(Path(sys.argv[1])).put('k', {'n': 1})"
    with run(script, cache.folder) as process:
        assert process.wait() == 0
    assert cache.get("k") == Row({"n": 1})


def test_an_ordinary_miss_has_no_reason(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    assert cache.get("other") == Row(None, None)


def test_reading_makes_no_database(cache: DiskCache) -> None:
    cache.delete("k")
    assert (cache.get("k"), cache.keys("")) == (Row(), [])
    assert not cache.folder.exists()


def test_importing_the_cache_does_not_import_diskcache() -> None:
    with run("print('diskcache' in sys.modules)") as process:
        assert process.communicate()[0] == "False\n"


def test_a_later_value_takes_the_place_of_the_first(cache: DiskCache) -> None:
    cache.put("k", {"n": 1})
    cache.put("k", {"n": 2})
    assert cache.get("k").value == {"n": 2}


def test_only_the_first_add_counts(cache: DiskCache) -> None:
    assert [cache.add("k", {"n": 1}), cache.add("k", {"n": 2})] == [True, False]
    assert cache.get("k").value == {"n": 1}


def test_a_deleted_key_is_a_miss(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    cache.delete("k")
    cache.delete("k")
    assert cache.get("k") == Row()


def test_keys_are_listed_by_prefix_in_order(cache: DiskCache) -> None:
    for key in ("b/2", "a/1", "b/1", "b", "c/1", "B/1", "b%"):
        cache.put(key, {})
    assert cache.keys("b/") == ["b/1", "b/2"]


def test_a_large_value_stays_in_the_database(cache: DiskCache) -> None:
    cache.put("k", {"text": "x" * 2**20})
    assert cache.get("k").value == {"text": "x" * 2**20}
    assert all(path.name.startswith("cache.db") for path in cache.folder.rglob("*"))


def test_the_oldest_rows_go_above_the_limit(tmp_path: Path) -> None:
    with closing(DiskCache(tmp_path, size_limit=2**20)) as cache:
        for number in range(40):
            cache.put(f"{number:02}", {"text": "x" * 2**16})
        kept = cache.keys("")
    assert kept == [f"{number:02}" for number in range(40 - len(kept), 40)]
    assert 5 < len(kept) < 20


def test_the_default_limit_is_not_diskcaches(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    cache.close()
    with closing(sqlite3.connect(cache.folder / "cache.db")) as connection:
        rows = connection.execute("SELECT value FROM Settings WHERE key = 'size_limit'")
        assert rows.fetchall() == [(4 * 2**30,)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param("mode = 4", "pickled or binary (mode 4)", id="pickled"),
        pytest.param("mode = 2", "pickled or binary (mode 2)", id="binary"),
        pytest.param("mode = 3", "pickled or binary (mode 3)", id="text-file"),
        pytest.param("filename = '../x'", "names a file outside", id="file"),
        pytest.param("value = x'80'", "is bytes, not text", id="octets"),
        pytest.param("value = 7", "is int, not text", id="number"),
        pytest.param("value = NULL", "is NoneType, not text", id="null"),
        pytest.param("value = 'x'", "is not JSON we wrote: Expecting value", id="no-json"),
        pytest.param("value = '[]'", "does not have the digest", id="list"),
        pytest.param("value = '{\"value\": {}}'", "does not have the digest", id="no-digest"),
        pytest.param("value = replace(value, '2.5', '3.5')", "not have the digest", id="tampered"),
        pytest.param("value = replace(value, '2.5', 'NaN')", "NaN is no JSON", id="nan"),
        pytest.param("value = CAST(x'22ff22' AS TEXT)", "Could not decode", id="encoding"),
    ],
)
def test_a_bad_row_is_a_miss_with_a_reason(cache: DiskCache, change: str, reason: str) -> None:
    cache.put("k", VALUE)
    sql(cache, f"UPDATE Cache SET {change}")
    row = cache.get("k")
    assert row.value is None
    assert reason in str(row.reason)


@pytest.mark.parametrize("levels", [65, 100_000], ids=["just-over", "far-over"])
def test_a_deep_row_is_a_miss(cache: DiskCache, levels: int) -> None:
    cache.put("k", VALUE)
    sql(cache, "UPDATE Cache SET value = ?", '{"a":' * levels + "1" + "}" * levels)
    assert "nested deeper than 64 levels" in str(cache.get("k").reason)


def test_a_huge_row_is_not_loaded(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    sql(cache, "UPDATE Cache SET value = zeroblob(?)", 64 * 2**20 + 1)
    assert "too big" in str(cache.get("k").reason)


def test_a_bad_row_can_be_replaced(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    sql(cache, "UPDATE Cache SET value = '{}'")
    cache.put("k", VALUE)
    assert cache.get("k") == Row(VALUE)


def test_a_planted_value_is_not_unpickled(cache: DiskCache, tmp_path: Path) -> None:
    cache.put("k", VALUE)
    sql(cache, "UPDATE Cache SET mode = 4, value = ?", pickle.dumps(Bomb(tmp_path / "ran")))
    assert "pickled" in str(cache.get("k").reason)
    assert not (tmp_path / "ran").exists()


def test_a_planted_file_is_not_unpickled(cache: DiskCache, tmp_path: Path) -> None:
    cache.put("k", VALUE)
    (cache.folder / "x.val").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    sql(cache, "UPDATE Cache SET mode = 4, value = NULL, filename = 'x.val'")
    assert "names a file" in str(cache.get("k").reason)
    assert not (tmp_path / "ran").exists()


def test_a_planted_key_is_not_unpickled(cache: DiskCache, tmp_path: Path) -> None:
    cache.put("k", VALUE)
    sql(cache, "UPDATE Cache SET raw = 0, key = ?", pickle.dumps(Bomb(tmp_path / "ran")))
    assert (cache.keys(""), cache.get("k")) == ([], Row())
    assert not (tmp_path / "ran").exists()


def test_a_key_that_is_not_text_is_refused(cache: DiskCache) -> None:
    with pytest.raises(RecordingError, match="a key is tuple, not text"):
        cache.put(("k",), VALUE)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["/precious", "../precious", "inside"])
@pytest.mark.parametrize("act", ["put", "delete", "evict"])
def test_a_planted_file_name_deletes_nothing(tmp_path: Path, name: str, act: str) -> None:
    with closing(DiskCache(tmp_path / "cache", size_limit=1)) as cache:
        cache.put("k", VALUE)
        file = tmp_path / "precious" if name[0] == "/" else cache.folder / name
        name = str(file) if name[0] == "/" else name
        file.write_text("keep me")
        sql(cache, "INSERT INTO Cache (key, raw, filename) VALUES ('k2', 1, ?)", name)
        sql(cache, "UPDATE Cache SET filename = ?, store_time = 0", name)
        {"put": cache.put, "delete": lambda *_: cache.delete("k"), "evict": cache.put}[act](
            "new" if act == "evict" else "k", VALUE
        )
        assert file.read_text() == "keep me"


@pytest.mark.parametrize(
    "key",
    [
        "disk_pickle_protocol",
        "disk_directory",
        "sqlite_journal_mode",
        "get",
        "_disk",
        "size",
        "unknown",
    ],
)
def test_planted_settings_change_nothing(cache: DiskCache, key: str) -> None:
    cache.put("k", VALUE)
    sql(cache, "INSERT OR REPLACE INTO Settings VALUES (?, 'planted')", key)
    cache.put("k2", VALUE)
    assert cache.get("k2") == Row(VALUE)


def test_a_planted_pragma_does_not_run(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    sql(cache, "INSERT INTO Settings VALUES ('sqlite_user_version', 77)")
    cache.put("k", VALUE)
    cache.close()
    with closing(sqlite3.connect(cache.folder / "cache.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)


def test_settings_that_are_not_text_are_a_reason(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    sql(cache, "INSERT INTO Settings VALUES (x'00', 1)")
    assert "its settings cannot be used. Move the folder away" in str(cache.get("k").reason)


DAMAGES = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "header-only": lambda path: os.truncate(path, 50),
    "no-database": lambda path: path.write_bytes(b"nonsense" * 999),
    "scrambled": lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\x5a" * 60_000),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link": lambda path: path.rename(path.with_name("x")).parent and path.symlink_to("x"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_database_is_a_reason(cache: DiskCache, damage: Any) -> None:
    for number in range(200):
        cache.put(f"{number}", VALUE)
    cache.close()
    damage(cache.folder / "cache.db")
    row = cache.get("150")
    assert row.value is None
    assert "cannot be used: " in str(row.reason)
    with pytest.raises(RecordingError, match=r"cannot be used: .+\. M\w+ the folder"):
        cache.put("k", VALUE)


def test_a_cache_recovers_when_the_damage_is_moved_away(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    with closing(sqlite3.connect(cache.folder / "cache.db")) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (cache.folder / "cache.db").write_bytes(b"nonsense" * 999)
    assert cache.get("k").reason
    (cache.folder / "cache.db").rename(cache.folder / "old")
    cache.put("k", VALUE)
    assert cache.get("k") == Row(VALUE)


@pytest.mark.parametrize("already_open", [True, False], ids=["open", "closed"])
def test_a_lock_is_not_waited_for_long(cache: DiskCache, already_open: bool) -> None:
    cache.put("k", VALUE)
    if not already_open:
        cache.close()
    with closing(sqlite3.connect(cache.folder / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        start = monotonic()
        with pytest.raises(RecordingError, match=r"is locked\. Wait for the process"):
            cache.put("k", {})
        assert 0.5 < monotonic() - start < 3
    cache.put("k", {"after": 1})
    assert cache.get("k") == Row({"after": 1})


def test_an_exclusive_lock_is_a_reason(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    cache.close()
    with closing(sqlite3.connect(cache.folder / "cache.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert "locked. Wait for the process" in str(cache.get("k").reason)


def test_a_writers_lock_does_not_stop_a_reader(cache: DiskCache) -> None:
    cache.put("k", VALUE)
    with closing(sqlite3.connect(cache.folder / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert cache.get("k") == Row(VALUE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param({"n": float("nan")}, r"not JSON \(.*\); pass it through", id="nan"),
        pytest.param({"n": {1}}, r"not JSON \(.*\); pass it through", id="set"),
        pytest.param(json.loads('{"a":' * 64 + "1" + "}" * 64), "63 levels", id="deep"),
        pytest.param({"text": "x" * 2**26}, "a row holds at most 64 MB", id="huge"),
    ],
)
def test_what_could_not_be_read_is_not_written(cache: DiskCache, value: Any, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        cache.put("k", value)
    assert cache.get("k") == Row()


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    cache = DiskCache(tmp_path / "cache")
    assert cache.get("k") == Row()
    with pytest.raises(RecordingError, match=r"/cache cannot be used: File exists\. Move"):
        cache.put("k", VALUE)


def test_a_folder_is_taken_literally(tmp_path: Path) -> None:
    with closing(DiskCache(tmp_path / "$HOME" / "~")) as cache:
        cache.put("k", VALUE)
    assert (tmp_path / "$HOME" / "~" / "cache.db").exists()


READ_ONLY = """
import hashlib, os, stratum.recording._safe_disk
if hasattr(os, "geteuid") and os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
cache = DiskCache(Path(sys.argv[1]))
print(cache.get("k").reason)
cache.put("k", {})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="folder modes")
@pytest.mark.parametrize("present", [True, False], ids=["filled", "empty"])
def test_a_read_only_folder_says_so(present: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if present:
            with closing(DiskCache(folder)) as cache:
                cache.put("k", VALUE)
        folder.chmod(0o555)
        with run(READ_ONLY, folder) as process:
            reason, error = process.communicate()
        folder.chmod(0o755)
    assert ("writable" in reason, "None" in reason) == (present, not present)
    assert re.search("CacheUnusable: the cache in .* writable", error)


FULL = """
import resource
cache = DiskCache(Path(sys.argv[1]))
cache.put("first", {"n": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    cache.put("second", {"text": "x" * 1_000_000})
except Exception as error:
    print(type(error).__name__, error)
print(cache.get("first").value, cache.get("second"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_loses_only_the_new_value(tmp_path: Path) -> None:
    with run(FULL, tmp_path) as process:
        said, error = process.communicate()
    assert error == ""
    assert re.match("CacheUnusable .* Free some space on the disk", said)
    assert said.endswith("{'n': 1} Row(value=None, reason=None)\n")


def test_threads_share_a_cache(cache: DiskCache) -> None:
    with ThreadPoolExecutor(16) as pool:
        added = list(pool.map(lambda n: cache.add(f"{n % 50}", {"n": n % 50}), range(2000)))
    assert (sum(added), len(cache.keys(""))) == (50, 50)
    assert [cache.get(f"{n}").value for n in range(50)] == [{"n": n} for n in range(50)]


WRITE = """
cache = DiskCache(Path(sys.argv[1]))
won = 0
for n in range(100):
    won += cache.add(f"claim/{n}", {"by": sys.argv[2]})
    cache.put(f"own/{sys.argv[2]}/{n}", {"n": n})
print(won)
"""


def test_processes_that_write_at_once_lose_nothing(cache: DiskCache) -> None:
    writers = [run(WRITE, cache.folder, number) for number in range(6)]
    said = [process.communicate() for process in writers]
    assert [error for _, error in said] == [""] * 6
    assert sum(int(won) for won, _ in said) == 100
    assert (len(cache.keys("claim/")), len(cache.keys("own/"))) == (100, 600)


FORK = """
import os
cache = DiskCache(Path(sys.argv[1]))
cache.put("before", {"n": 1})
child = os.fork()
if child == 0 and os.path.exists("/proc/self/fd"):
    files = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    assert not [name for name in files if "cache.db" in name], "the connection was carried across"
cache.put("child" if child == 0 else "parent", {"n": 2})
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(cache.keys(""))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_fork_shares_the_cache(tmp_path: Path) -> None:
    with run(FORK, tmp_path) as process:
        assert process.communicate() == ("['before', 'child', 'parent']\n", "")
