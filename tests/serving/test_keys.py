import hashlib
import hmac
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import InputError
from textgate.serving.keys import Keys, new_key

HEX = "0123456789abcdef" * 4
# Not st.text, which would merge the alternatives into one alphabet, in which these two characters are rare.
ODD = st.lists(st.characters() | st.sampled_from("\ud800é"), min_size=1).map("".join)


def write_lines(path: Path, *lines: str, mode: int = 0o600) -> Path:
    path.write_text("\n".join(lines), "utf-8")
    path.chmod(mode)
    return path


def test_a_new_key_is_accepted_and_is_not_in_the_file(tmp_path: Path) -> None:
    (first, one), (second, two) = new_key("films", "user"), new_key("deploy.2", "admin")
    assert re.fullmatch(r"tg_[A-Za-z0-9_-]{43}", first)
    assert first != second
    assert one == f"films user {hashlib.sha256(first.encode()).hexdigest()}"
    path = write_lines(tmp_path / "keys", "# accepted keys", "", one, f"  {two}\r", "")
    keys = Keys.read(path)
    for key, name, role in ((first, "films", "user"), (second, "deploy.2", "admin")):
        holder = keys.find(key)
        assert holder is not None
        assert (holder.name, holder.role) == (name, role)
        assert key not in path.read_text()
        assert repr(holder) == f"KeyHolder(name={name!r}, role={role!r})"


@pytest.fixture(scope="module")
def keys_with_one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, str, str]:
    """Keys with a single key, that key, and its digest in the file."""
    key, line = new_key("films", "user")
    return Keys.read(write_lines(tmp_path_factory.mktemp("keys") / "keys", line)), key, line.split()[2]


@settings(deadline=None, max_examples=100)
@given(odd=ODD)
def test_no_other_text_is_accepted(odd: str, keys_with_one: tuple[Keys, str, str]) -> None:
    keys, key, digest = keys_with_one
    for other in (odd, key + odd, odd + key, key[:-1], key.upper(), digest, "", None):
        assert keys.find(other) is None
    assert keys.find(key)


def test_every_key_is_compared_completely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_keys = [new_key(f"name{number}", "user") for number in range(4)]
    keys = Keys.read(write_lines(tmp_path / "keys", *(line for _, line in new_keys)))
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def record_and_compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", record_and_compare)
    digests = [bytes.fromhex(line.split()[2]) for _, line in new_keys]
    for key in (new_keys[0][0], new_keys[3][0], "nobody's", ""):
        compared.clear()
        keys.find(key)
        assert compared == [(hashlib.sha256(key.encode()).digest(), digest) for digest in digests]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"films user {HEX}", f"films admin {HEX[::-1]}"], "line 2: the name films is used by an earlier line"),
        ([f"films user {HEX}", "", f"other admin {HEX}"], "line 3: other has the key of an earlier line"),
        (
            ["# a comment", f"films root {HEX}"],
            r"line 2: its second word is none of user, admin: a line is NAME user\|",
        ),
        ([f"films user {HEX[:-1]}"], "line 1: its third word is not a SHA-256 in 64 lower-case hexadecimal digits"),
        ([f"films user {HEX.upper()}"], "line 1: its third word is not a SHA-256"),
        ([f"films user {HEX[:-1]}g"], "line 1: its third word is not a SHA-256"),
        ([f"fílms user {HEX}"], "line 1: its name is not 1 to 64 ASCII letters"),
        ([f"{'n' * 65} user {HEX}"], "line 1: its name is not 1 to 64 ASCII letters"),
        ([f"films user {HEX} # mine"], "line 1: it has 5 words instead of 3: a line is NAME user|admin SHA256"),
        (["films"], "line 1: it has 1 words instead of 3"),
        (["", "# films"], "contains no key, so every request would be rejected"),
        ([], "contains no key, so every request would be rejected"),
    ],
)
def test_an_invalid_line_is_reported_with_file_and_line(lines: list[str], message: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "keys", *lines)
    with pytest.raises(InputError, match=message) as error:
        Keys.read(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("line", ["films user {key}", "{key}", "films {key}", "{key} user {key}"])
def test_a_key_put_into_the_file_by_mistake_is_not_repeated(line: str, tmp_path: Path) -> None:
    key, _ = new_key("films", "user")
    with pytest.raises(InputError) as error:
        Keys.read(write_lines(tmp_path / "keys", line.format(key=key)))
    assert key not in str(error.value)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_rejected(mode: int, tmp_path: Path) -> None:
    _, line = new_key("films", "user")
    path = write_lines(tmp_path / "keys", line, mode=mode)
    with pytest.raises(InputError, match=f"users other than its owner can write to it: chmod go-w {path}"):
        Keys.read(path)
    # As in a mounted secret: a symbolic link to a file that everyone may read.
    path.chmod(0o644)
    (tmp_path / "link").symlink_to(path)
    assert Keys.read(tmp_path / "link")


def test_an_unreadable_file_is_reported_in_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="cannot be read as a file of API keys"):
            Keys.read(path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as a file of API keys"):
        Keys.read(tmp_path / "binary")


@pytest.mark.parametrize("name", ["", "two words", "-dash", "line\nbreak", "é"])
def test_a_key_is_generated_only_for_a_valid_name(name: str) -> None:
    with pytest.raises(InputError, match="its name is not 1 to 64 ASCII letters"):
        new_key(name, "user")
