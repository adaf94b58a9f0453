"""API keys: a file of one line a key, `name role sha256`, that holds no key.

    # name  role   sha256 of the key
    films   user   9f86d081884c7d65...
    deploy  admin  60303ae22b998861...

Plain SHA-256, unsalted and fast, is enough since the keys are made here, of 256 random bits: nobody can try them all,
and no two are alike. NIST SP 800-63B-3, 5.1.2.2: secrets of at least 112 bits of entropy are hashed with an approved
one-way function; salt and a slow function are for weaker ones. OWASP ASVS 5.0, 6.5.2, draws the same line. For the same
reason nothing may get into the file but what ``new_key`` made: a password would be found in no time.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from textgate.components.contracts import InputError

Role = Literal["user", "admin"]

_ROLES: dict[str, Role] = {"user": "user", "admin": "admin"}
_BYTES = 32
_MARK = "tg_"
"""What a key begins with, so that people and scanners for leaked secrets know it for one."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE = f"a line is NAME {'|'.join(_ROLES)} SHA256"


@dataclass(frozen=True)
class KeyHolder:
    """Who a key was made for."""

    name: str
    """Safe to log."""
    role: Role
    digest: bytes = field(repr=False)


class Keys:
    """The keys that are let in."""

    def __init__(self, holders: Sequence[KeyHolder]) -> None:
        self._holders = tuple(holders)

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """Read a file of keys; it may be a link, as in a mounted secret.

        Raises:
            InputError: it cannot be read, somebody besides its owner may write it, or a line is not what it should be.
        """
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                lines = file.read().decode("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as a file of API keys ({error})") from error
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InputError(f"{path} decides who is let in, but others than its owner may write it: chmod go-w {path}")
        holders: dict[str, KeyHolder] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            holder = _holder(line, f"{path}, line {number}")
            if holder.name in holders:
                raise InputError(
                    f"{path}, line {number}: the name {holder.name} is taken by a line before: choose another"
                )
            if any(holder.digest == other.digest for other in holders.values()):
                raise InputError(
                    f"{path}, line {number}: {holder.name} has the key of a line before: make it a new one"
                )
            holders[holder.name] = holder
        if not holders:
            raise InputError(f"{path} holds no key, so nobody would be let in: {_LINE}")
        return cls(list(holders.values()))

    def holder(self, presented: str | None) -> KeyHolder | None:
        """Whose key was presented; None when it is nobody's.

        Every key is compared, each in constant time, so the time it takes tells nothing about any of them.
        """
        if presented is None:
            return None
        digest, found = _digest(presented), None
        for holder in self._holders:
            if hmac.compare_digest(digest, holder.digest):
                found = holder
        return found


def new_key(name: str, role: Role) -> tuple[str, str]:
    """A new key, which is kept nowhere, and its line for the file.

    Raises:
        InputError: the name is none.
    """
    key = _MARK + secrets.token_urlsafe(_BYTES)
    return key, f"{_checked(name, 'the key')} {role} {_digest(key).hex()}"


def _holder(line: str, where: str) -> KeyHolder:
    """What a line says; it is never shown in an error, since it may be a key itself."""
    words = line.split()
    if len(words) != 3:
        raise InputError(f"{where}: it has {len(words)} words instead of 3: {_LINE}")
    name, role, digest = words
    if role not in _ROLES:
        raise InputError(f"{where}: its second word is none of {', '.join(_ROLES)}: {_LINE}")
    if not _SHA256.fullmatch(digest):
        raise InputError(f"{where}: its third word is not a SHA-256 in 64 lower-case hexadecimal digits")
    return KeyHolder(_checked(name, where), _ROLES[role], bytes.fromhex(digest))


def _checked(name: str, where: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(f"{where}: its name is not 1 to 64 ASCII letters, digits, dots, hyphens and underscores")
    return name


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
