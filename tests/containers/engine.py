"""Names of the images under test, and the docker command."""

import subprocess
from typing import NamedTuple


class Images(NamedTuple):
    """Names of the images under test."""

    pipeline: str
    serving: str


def docker(*arguments: str) -> str:
    """Run docker, which must succeed; return its output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
