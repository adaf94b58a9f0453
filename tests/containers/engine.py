"""The images under test, and the engine's command."""

import subprocess
from typing import NamedTuple


class Images(NamedTuple):
    """Their names."""

    pipeline: str
    serving: str


def docker(*arguments: str) -> str:
    """What the command prints when it ends well."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
