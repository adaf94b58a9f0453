"""Append-only files of records that the store has not acknowledged yet.

    <folder>/<uuid>.log          records, one a line
    <folder>/<uuid>.rejected     a file whose records the reader could not use, kept for a person to look at

A line is the CRC-32 of a JSON array in 8 hexadecimal digits, a space, and the array in ASCII, so that a line which a
kill or the disk damaged is recognized and costs no other line. A server appends to one file at a time and holds its
lock (flock) as long: a file that nobody locks is complete, and any server of the folder takes it over, whether its
writer has gone on to the next file, has ended or was killed.
"""

import fcntl
import json
import logging
import os
import threading
import uuid
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from textgate.components.contracts.files import sync_path
from textgate.serving.log import log_event

Record = Sequence[Any]
"""Values that JSON can represent."""


class SpoolError(Exception):
    """Records that could not be written; the message is one sentence."""


class RecordError(Exception):
    """Records that can be read but not used."""


class Spool:
    """Folder of records on disk; every method is safe from any thread."""

    def __init__(self, folder: Path, rows: int, max_bytes: int) -> None:
        """Open a folder, which is created when it is needed.

        Args:
            folder: Folder of the files; servers may share it.
            rows: Number of records after which a new file is begun.
            max_bytes: Most bytes that the files may have together.
        """
        self.folder = folder
        self._rows, self._max_bytes = rows, max_bytes
        self._lock = threading.Lock()
        self._file: int | None = None
        """Descriptor of the file that is appended to."""
        self._path = folder
        self._file_rows = self._file_bytes = 0
        self._bytes = self._size()

    def append(self, records: Iterable[Record]) -> None:
        """Write records, together; they are on the disk when this returns.

        Raises:
            SpoolError: If there is no space left, or the disk fails; then none of the records counts as written.
        """
        lines = [_encode(record) for record in records]
        data = b"".join(lines)
        if not data:
            return
        with self._lock:
            if self._bytes + len(data) > self._max_bytes:
                raise SpoolError(
                    f"{self._bytes / 2**20:,.0f} MiB of feedback wait for the store, and this server keeps no more "
                    f"than {self._max_bytes / 2**20:,.0f} MiB: try again later"
                )
            try:
                if self._file is None:
                    self._file, self._path = self._create()
                    self._file_rows = self._file_bytes = 0
                _write(self._file, data)
                os.fdatasync(self._file)
            except OSError as error:
                self._abandon()
                raise SpoolError(
                    f"the server could not write to its disk ({error.strerror}): try again later"
                ) from error
            self._bytes += len(data)
            self._file_bytes += len(data)
            self._file_rows += len(lines)
            if self._file_rows >= self._rows:
                self._close()

    def seal(self) -> None:
        """End the file that is appended to, so that ``drain`` takes it."""
        with self._lock:
            self._close()

    def drain(self, take: Callable[[str, list[Any]], None]) -> None:
        """Hand the records of each complete file to ``take``, and delete the file when that returns.

        Damaged lines are skipped and counted in the log.

        Args:
            take: Function of a file's name and its records. It is called again with the same ones if it raised, or
                the process was killed. A RecordError sets the file aside; any other error ends the round.
        """
        try:
            for path in self._paths():
                try:
                    file = _lock(path)
                except OSError as error:
                    log_event("a file of feedback cannot be read", logging.ERROR, file=path, reason=str(error))
                    continue
                if file is not None:
                    try:
                        _drain_file(path, take)
                    finally:
                        os.close(file)
        finally:
            with self._lock:
                self._bytes = self._size()

    def waiting(self) -> int:
        """Return the number of records in the folder."""
        count = 0
        for path in self._paths():
            with suppress(OSError):
                count += path.read_bytes().count(b"\n")
        return count

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))

    def _size(self) -> int:
        size = 0
        for path in self.folder.glob("*"):
            with suppress(OSError):  # another server may have deleted it
                size += path.stat().st_size
        return size

    def _create(self) -> tuple[int, Path]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            path = self.folder / f"{uuid.uuid4()}.log"
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            # Before it was locked, another server may have taken it for complete and deleted it.
            if path.exists():
                break
            os.close(file)
        for folder in (self.folder, *self.folder.parents[:2]):
            sync_path(folder)
        return file, path

    def _abandon(self) -> None:
        """Cut off what a failed write has left, and begin a new file next time.

        After a failed fsync the pages of the file may be marked clean, so a second fsync proves nothing (Rebello et
        al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
        """
        if self._file is None:
            return
        with suppress(OSError):
            os.ftruncate(self._file, self._file_bytes)
            if self._file_bytes == 0:
                self._path.unlink()
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _drain_file(path: Path, take: Callable[[str, list[Any]], None]) -> None:
    records, damaged = _decode(path.read_bytes())
    if damaged:
        log_event("damaged records of feedback are skipped", logging.WARNING, file=path, rows=damaged)
    try:
        if records:
            take(path.stem, records)
    except RecordError as error:
        aside = path.rename(path.with_suffix(".rejected"))
        log_event("feedback cannot be stored: it is set aside", logging.ERROR, file=aside, reason=str(error))
    else:
        path.unlink()


def _lock(path: Path) -> int | None:
    """Return a descriptor of a complete file that holds its lock; None if it is written, taken or gone."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists():
            return file
    except BlockingIOError:
        pass
    os.close(file)
    return None


def _encode(record: Record) -> bytes:
    # Only with ASCII can JSON hold an unpaired surrogate.
    array = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(array), array)


def _decode(data: bytes) -> tuple[list[Any], int]:
    """Return the records of a file, and the number of damaged lines."""
    lines = [line for line in data.split(b"\n") if line]
    records = [json.loads(line[9:]) for line in lines if line[:9] == b"%08x " % zlib.crc32(line[9:])]
    return records, len(lines) - len(records)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
