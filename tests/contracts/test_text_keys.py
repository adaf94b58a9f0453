"""Keys of texts, and the file in a bundle that says which texts it was trained on."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import InputError
from textgate.components.contracts.text_keys import (
    TRAINED_ON,
    canonical_text,
    copy_trained_on,
    key_array,
    read_trained_on,
    text_key,
    write_trained_on,
)


@pytest.mark.parametrize(
    "copy",
    [
        *(
            "GOOD FILM, REALLY",
            "good film really.",
            " good\n film\u00a0really!?",
            "ＧＯＯＤ　ｆｉｌｍ, really",
            "“Good” film – really…",
        ),
        *("Good film, really https://t.co/abc", "@ann Good film, really", "<p>Good <b>film</b>, really</p>"),
        *("Good\u200b film, really", "go\u00adod film, really"),
    ],
)
def test_a_copy_in_case_punctuation_width_markup_addresses_and_mentions_has_the_same_key(copy: str) -> None:
    assert canonical_text(copy) == "goodfilmreally"
    assert text_key(copy) == text_key("Good film, really")


@pytest.mark.parametrize(
    ("text", "other"),
    [
        *((":-)", ":-("), ("C", "C++"), ("😀", "😡"), ("!!!", "?"), ("कि", "की"), ("good film", "a good film")),
        *(("@ann", "@bob"), ("http://a.example", "http://b.example"), ("1", "2"), ("", "x")),
    ],
)
def test_texts_that_differ_otherwise_have_other_keys(text: str, other: str) -> None:
    assert text_key(text) != text_key(other)


def test_the_key_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert text_key("Same  Text!") == "f9cb8dcd19c8abd1"
    assert text_key("") == "e4a6a0577479b2b4"


@settings(deadline=None)
@given(
    st.text(st.characters(codec="utf-8", categories=["Lu", "Ll", "Lo", "Nd"]), min_size=1, max_size=12),
    st.lists(st.sampled_from(" .,!?-\n\t\u3000\u200b\u3002"), min_size=12, max_size=12),
)
def test_the_key_ignores_punctuation_and_white_space_anywhere(text: str, added: list[str]) -> None:
    canonical = canonical_text(text)
    assert canonical_text(canonical) == canonical
    assert canonical_text("".join(map("".join, zip(text, added, strict=False)))) == canonical


def test_a_megabyte_takes_no_longer_than_its_length() -> None:
    for text in ("e" + "\u0301" * 300_000, "<a" * 500_000, "@" * 1_000_000, "http://" * 140_000, "\ufdfa" * 100_000):
        assert len(text_key(text)) == 16


def test_keys_are_read_as_they_were_written_sorted_and_once(tmp_path: Path) -> None:
    keys = key_array([text_key(f"text {number % 70}") for number in range(100)])
    write_trained_on(tmp_path, keys)
    read = read_trained_on(tmp_path)
    assert read is not None
    assert read.dtype == np.uint64
    assert read.tolist() == sorted(set(keys.tolist()))
    assert (tmp_path / TRAINED_ON).stat().st_size == 8 + 8 * 70
    (tmp_path / "copy").mkdir()
    copy_trained_on(tmp_path, tmp_path / "copy")
    assert (tmp_path / "copy" / TRAINED_ON).read_bytes() == (tmp_path / TRAINED_ON).read_bytes()


def test_a_bundle_without_the_file_is_unknown_and_not_empty(tmp_path: Path) -> None:
    assert read_trained_on(tmp_path) is None
    copy_trained_on(tmp_path, tmp_path / "never written")
    write_trained_on(tmp_path, key_array([]))
    assert np.array_equal(read_trained_on(tmp_path), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "does not hold the keys"),
        (b"TGKEYS\x00\x02" + bytes(8), "does not hold the keys"),
        (b"TGKEYS\x00\x01" + bytes(7), "does not hold the keys"),
        (b"TGKEYS\x00\x01" + struct.pack("<2Q", 5, 4), "not in ascending order"),
        (b"TGKEYS\x00\x01" + struct.pack("<2Q", 5, 5), "not in ascending order"),
    ],
)
def test_a_damaged_file_is_an_input_error(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / TRAINED_ON).write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read_trained_on(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / TRAINED_ON).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="holds more than 134,217,728 keys"):
        read_trained_on(tmp_path)


@pytest.mark.parametrize("keys", [["12"], ["0" * 15, "0" * 17], ["x" * 16]])
def test_what_is_no_key_is_a_value_error(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        key_array(keys)
