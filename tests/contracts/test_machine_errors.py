"""Sentences for errors of the machine, and the line by which a step reports an error."""

import errno
from pathlib import Path

import pytest

from textgate.components.contracts import ConflictError, InputError, MachineError, StoreError, new_file, new_folder
from textgate.components.machine_errors import machine_error, machine_errors
from textgate.components.step import error_line, parse_error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "", "/data/x"), "the disk of /data/x is full: free space there"),
        (OSError(errno.EDQUOT, "", "/data/x"), "the disk quota of user "),
        (OSError(errno.EROFS, "", "/data/x"), "/data/x is on a read-only file system: name another folder"),
        (OSError(errno.EACCES, "", "/data/x"), "has no permission for /data/x: change its mode or owner"),
        (OSError(errno.EMFILE, "", "/data/x"), " files: allow more (ulimit -n)"),
        (OSError(errno.EIO, "", "/data/x"), "the disk of /data/x fails with an input/output error"),
        (MemoryError(), "this machine has no memory left"),
        (OSError(errno.ENOMEM, ""), "this machine has no memory left"),
        # safetensors and other libraries keep only the text.
        (ValueError("I/O error: Read-only file system (os error 30)"), "is on a read-only file system"),
        (RuntimeError("Could not determine home directory."), "has no home folder: set HOME"),
    ],
)
def test_an_error_of_the_machine_is_one_sentence(error: Exception, sentence: str) -> None:
    with pytest.raises(MachineError) as raised, machine_errors():
        raise error
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "error", [KeyError("a"), FileNotFoundError(errno.ENOENT, "", "x"), ConnectionRefusedError(errno.ECONNREFUSED, "")]
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    assert machine_error(error) is None
    with pytest.raises(type(error)), machine_errors():
        raise error


def test_an_input_error_is_not_read_as_one_of_the_machine() -> None:
    with pytest.raises(InputError) as raised, machine_errors():
        raise InputError("row 3: 'No space left on device' is no label")
    assert type(raised.value) is InputError


def test_a_write_to_a_full_disk_names_the_file(tmp_path: Path) -> None:
    def fill() -> None:
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(OSError, match="No space left") as raised, new_file(tmp_path / "a.json"):
        fill()
    assert raised.value.filename == str(tmp_path / "a.json")
    with pytest.raises(OSError, match="No space left") as raised, new_folder(tmp_path / "b"):
        fill()
    assert raised.value.filename == str(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [InputError, StoreError, ConflictError, MachineError])
def test_a_step_reports_an_error_with_its_kind(kind: type[InputError]) -> None:
    error = parse_error(error_line(kind("a sentence: with a colon")))
    assert type(error) is kind
    assert str(error) == "a sentence: with a colon"


def test_an_input_error_is_reported_as_by_earlier_versions() -> None:
    assert error_line(InputError("a sentence")) == "textgate error: a sentence"
    assert parse_error("another line") is None
