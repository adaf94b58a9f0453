"""Files of feedback that the store does not have yet: kills, damage, full disks, several servers."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from textgate.components.storage import Store
from textgate.components.storage.feedback_log import read_feedback_log
from textgate.serving.feedback import FeedbackLog
from textgate.serving.spool import RecordError, Spool, SpoolError

LARGE = 2**30


def drained(spool: Spool) -> list[Any]:
    """Return the records of all complete files, which are deleted."""
    found: list[Any] = []
    spool.drain(lambda _, records: found.extend(records))
    return sorted(found)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let writes beyond this size fail, after they have written what fits, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_only_complete_files_are_taken_and_those_of_a_killed_server_are_complete(tmp_path: Path) -> None:
    own, other = Spool(tmp_path, 3, LARGE), Spool(tmp_path, 3, LARGE)
    own.append([[number] for number in range(2)])
    assert drained(other) == []
    own.append([[2]])  # the file has its three rows now
    own.append([[3]])
    assert drained(other) == [[0], [1], [2]]
    program = (
        "import os, sys; from pathlib import Path; from textgate.serving.spool import Spool\n"
        f"Spool(Path({str(tmp_path)!r}), 3, {LARGE}).append([['killed']])\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    assert drained(other) == [["killed"]]
    own.seal()
    assert drained(other) == [[3]]
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_kept_until_its_records_are_taken_and_has_the_same_name_again(tmp_path: Path) -> None:
    spool, seen = Spool(tmp_path, 1, LARGE), []

    def fail(name: str, records: list[Any]) -> None:
        seen.append((name, records))
        if len(seen) < 3:
            raise ConnectionError

    spool.append([["row"]])
    for _ in range(2):
        with pytest.raises(ConnectionError):
            spool.drain(fail)
    assert spool.waiting() == 1
    spool.drain(fail)
    assert seen == [seen[0]] * 3
    assert spool.waiting() == 0


def test_damaged_lines_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, 100, LARGE)
    spool.append([[f"row {number}"] for number in range(9)])
    spool.seal()
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[data.index(b"row 3") + 4] ^= 1
    path.write_bytes(data[:-3])  # a torn last line
    assert drained(spool) == [[f"row {number}"] for number in (0, 1, 2, 4, 5, 6, 7)]
    assert [record.fields["rows"] for record in caplog.records] == [2]  # type: ignore[attr-defined]
    path.write_bytes(b"\0" * 4096)  # as some file systems leave it after a power failure
    assert drained(spool) == []
    assert not path.exists()


def test_a_file_of_unknown_records_is_set_aside_and_the_others_are_taken(tmp_path: Path) -> None:
    spool, found = Spool(tmp_path, 1, LARGE), []

    def take(_: str, records: list[Any]) -> None:
        if records == [[5]]:
            raise RecordError("no row")
        found.extend(records)

    spool.append([[5]])
    spool.append([["good"]])
    spool.drain(take)
    assert found == [["good"]]
    (aside,) = tmp_path.iterdir()
    assert (aside.suffix, aside.read_bytes()[9:]) == (".rejected", b"[5]\n")


def test_it_refuses_more_than_its_limit_until_the_store_has_taken_some(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10, 1_000)
    with pytest.raises(SpoolError, match="feedback wait for the store, and this server keeps no more than"):
        for _ in range(1_000):
            spool.append([["x" * 50]])
    assert 800 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_000
    # A server that starts with what an earlier one left counts it.
    with pytest.raises(SpoolError):
        Spool(tmp_path, 10, 1_000).append([["x" * 300]])
    spool.seal()
    assert len(drained(spool)) > 10
    spool.append([["x" * 300]])


def test_a_full_disk_loses_no_record_that_was_written_and_keeps_no_half(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool(tmp_path, 1_000, LARGE)
    for size in (0, 60, 300):
        with largest_file(size), pytest.raises(SpoolError, match=r"could not write to its disk \(File too large\)"):
            for number in range(1_000):
                spool.append([[size, number]])
        spool.append([[size, 9_999]])  # there is room again
        spool.seal()
        found = drained(spool)
        assert found[:-1] == [[size, number] for number in range(len(found) - 1)]
        assert found[-1] == [size, 9_999]
        assert (len(found) > 1) == (size > 0)
    assert caplog.records == []


def test_a_folder_that_cannot_be_written_is_an_error_of_the_request_only(store: Store, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    log = FeedbackLog(store, tmp_path / "spool")
    with pytest.raises(SpoolError, match="could not write to its disk"):
        log.add_feedback("r", 0, "films", "good").result(60)
    (tmp_path / "spool").unlink()
    log.add_feedback("r", 1, "films", "good").result(60)
    log.close()
    assert read_feedback_log(store, "feedback", "films")["index"].to_pylist() == [1]


def test_waiting_rows_share_an_fsync(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (syncs.append(file), real(file)))
    log = FeedbackLog(store, tmp_path / "spool")
    futures = [log.add_feedback("r", index, "films", "good") for index in range(2_000)]
    for future in futures:
        future.result(60)
    log.close()
    assert 1 <= len(syncs) < 500
    assert read_feedback_log(store, "feedback", "films").num_rows == 2_000
