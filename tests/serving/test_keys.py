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
# A list, since st.text makes one range of characters of such a choice, in which those named here are rare.
ODD = st.lists(st.characters() | st.sampled_from("\ud800é"), min_size=1).map("".join)


def written(path: Path, *lines: str, mode: int = 0o600) -> Path:
    path.write_text("\n".join(lines), "utf-8")
    path.chmod(mode)
    return path


def test_a_new_key_opens_and_is_not_in_the_file(tmp_path: Path) -> None:
    (first, one), (second, two) = new_key("films", "user"), new_key("deploy.2", "admin")
    assert re.fullmatch(r"tg_[A-Za-z0-9_-]{43}", first)
    assert first != second
    assert one == f"films user {hashlib.sha256(first.encode()).hexdigest()}"
    path = written(tmp_path / "keys", "# who may ask", "", one, f"  {two}\r", "")
    keys = Keys.read(path)
    for key, name, role in ((first, "films", "user"), (second, "deploy.2", "admin")):
        holder = keys.find(key)
        assert holder is not None
        assert (holder.name, holder.role) == (name, role)
        assert key not in path.read_text()
        assert repr(holder) == f"KeyHolder(name={name!r}, role={role!r})"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, str, str]:
    """Keys with one among them, that key, and what the file has of it."""
    key, line = new_key("films", "user")
    return Keys.read(written(tmp_path_factory.mktemp("keys") / "keys", line)), key, line.split()[2]


@settings(deadline=None, max_examples=100)
@given(odd=ODD)
def test_any_other_text_opens_nothing(odd: str, opened: tuple[Keys, str, str]) -> None:
    keys, key, digest = opened
    for presented in (odd, key + odd, odd + key, key[:-1], key.upper(), digest, "", None):
        assert keys.find(presented) is None
    assert keys.find(key)


def test_every_key_is_compared_whole_whichever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [new_key(f"name{number}", "user") for number in range(4)]
    keys = Keys.read(written(tmp_path / "keys", *(line for _, line in made)))
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    digests = [bytes.fromhex(line.split()[2]) for _, line in made]
    for key in (made[0][0], made[3][0], "nobody's", ""):
        compared.clear()
        keys.find(key)
        assert compared == [(hashlib.sha256(key.encode()).digest(), digest) for digest in digests]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"films user {HEX}", f"films admin {HEX[::-1]}"], "line 2: the name films is taken by a line before"),
        ([f"films user {HEX}", "", f"other admin {HEX}"], "line 3: other has the key of a line before"),
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
        (["", "# films"], "holds no key, so nobody would be let in"),
        ([], "holds no key, so nobody would be let in"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(lines: list[str], message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "keys", *lines)
    with pytest.raises(InputError, match=message) as error:
        Keys.read(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("line", ["films user {key}", "{key}", "films {key}", "{key} user {key}"])
def test_a_key_put_into_the_file_by_mistake_is_not_repeated(line: str, tmp_path: Path) -> None:
    key, _ = new_key("films", "user")
    with pytest.raises(InputError) as error:
        Keys.read(written(tmp_path / "keys", line.format(key=key)))
    assert key not in str(error.value)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(mode: int, tmp_path: Path) -> None:
    _, line = new_key("films", "user")
    path = written(tmp_path / "keys", line, mode=mode)
    with pytest.raises(InputError, match=f"others than its owner may write it: chmod go-w {path}"):
        Keys.read(path)
    # What a mounted secret looks like: a link to a file that all may read.
    path.chmod(0o644)
    (tmp_path / "link").symlink_to(path)
    assert Keys.read(tmp_path / "link")


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="cannot be read as a file of API keys"):
            Keys.read(path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as a file of API keys"):
        Keys.read(tmp_path / "binary")


@pytest.mark.parametrize("name", ["", "two words", "-dash", "line\nbreak", "é"])
def test_a_key_is_made_only_for_a_name_that_can_be_read_back(name: str) -> None:
    with pytest.raises(InputError, match="its name is not 1 to 64 ASCII letters"):
        new_key(name, "user")
