"""Golden flows: our extension of syrupy."""

import os
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from syrupy.data import Snapshot, SnapshotCollection, SnapshotCollections
from syrupy.extensions.base import AbstractSyrupyExtension
from syrupy.location import PyTestLocation

from pytest_stratum.fixtures import Traces
from pytest_stratum.session import SNAPSHOTS, StratumSession
from stratum.errors import RecordingError
from stratum.hashing import jsonable
from stratum.recording.files import (
    INVISIBLE,
    escape_name,
    read_text,
    refuse_links,
    write_atomic,
)
from stratum.text import escape


class GoldenExtension(AbstractSyrupyExtension):
    """One YAML file for each test, below `golden/flows/<test module>/`.

    Writes are queued until the end of the run, and dropped for tests that failed.
    """

    file_extension = "yaml"
    session: ClassVar[StratumSession]

    def serialize(self, data: Any, **_: Any) -> str:
        plain = {"trace": data.tree()} if isinstance(data, Traces) else jsonable(data)
        text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        text = text.removesuffix("...\n")  # what YAML puts after a bare value
        return re.sub(INVISIBLE, lambda found: rf"\U{ord(found[0]):08x}", text)

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        settings = cls.session.settings
        module = os.path.relpath(test_location.filepath, settings.root)
        return str(settings.golden_folder / "flows" / Path(module).with_suffix(""))

    @classmethod
    def get_file_basename(cls, *, test_location: PyTestLocation, index: Any) -> str:
        return escape_name(cls.get_snapshot_name(test_location=test_location, index=index))

    @classmethod
    def matches_test_location(
        cls, *, test_location: PyTestLocation, snapshot_location: str
    ) -> bool:
        return True

    def discover_snapshots(self, **_: Any) -> SnapshotCollections:
        return SnapshotCollections()  # a partial run must not take the others for unused

    def delete_snapshots(self, *, snapshot_location: str, snapshot_names: set[str]) -> None:
        pass

    def read_snapshot_collection(self, *, snapshot_location: str) -> SnapshotCollection:
        collection = SnapshotCollection(location=snapshot_location)
        collection.add(Snapshot(name=Path(snapshot_location).stem))
        return collection

    def read_snapshot_data_from_location(
        self, *, snapshot_location: str, snapshot_name: str, session_id: str
    ) -> str | None:
        path = Path(snapshot_location)
        if not path.is_symlink() and not path.exists():
            return None
        refuse_links(path, self.session.settings.golden_folder)
        text = read_text(path, errors="backslashreplace")
        return text.replace("\r\n", "\n").replace("\r", "\n")  # as some checkouts write it

    @classmethod
    def write_snapshot(cls, *, snapshot_location: str, **more: Any) -> None:
        """Write a golden flow; one that cannot be written keeps no other from it."""
        if snapshot_location in cls.session.discarded:
            return
        path = Path(snapshot_location)
        try:
            refuse_links(path, cls.session.settings.golden_folder)
            super().write_snapshot(snapshot_location=snapshot_location, **more)
        except OSError as error:  # syrupy makes the folder itself
            text = f"{escape(path.as_posix())} could not be written ({error.strerror or error})"
            cls.session.report.errors[f"{text}. Make the folder writable, and run again."] = None
        except RecordingError as error:
            cls.session.report.errors[str(error)] = None

    @classmethod
    def write_snapshot_collection(
        cls, *, snapshot_collection: SnapshotCollection, name_order: Any = None
    ) -> None:
        data = next(iter(snapshot_collection)).data
        write_atomic(Path(snapshot_collection.location), str(data))


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and the same value never as a reference.

    What a reviewer could not see stands in double quotes, where it can be escaped.
    """

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    style = '"' if re.search(INVISIBLE, data) else "|" if "\n" in data else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _text)


def golden_assertion(request: pytest.FixtureRequest, session: StratumSession) -> SnapshotAssertion:
    """Return the `golden` fixture's value; only it is updated by `--stratum-record`."""
    syrupy_session = getattr(request.config, "_syrupy", None)
    if syrupy_session is None:
        raise pytest.UsageError("the golden fixture needs the syrupy plugin, which is switched off")
    extension = type("GoldenExtension", (GoldenExtension,), {"session": session})
    options = request.config.option
    assertion = SnapshotAssertion(
        session=syrupy_session,
        extension_class=extension,
        test_location=PyTestLocation(request.node),
        update_snapshots=session.records or options.update_snapshots,
        update_new_snapshots_only=getattr(options, "update_new_snapshots_only", False),
    )
    request.node.stash.setdefault(SNAPSHOTS, []).append(assertion)
    return assertion
