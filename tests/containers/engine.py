"""Names of the images under test, their build, and the docker command."""

import os
import subprocess
from pathlib import Path
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


def build_images(*targets: str, root: Path, registry: str, base: str, wheels: str) -> None:
    """Build images by their targets of the Makefile, without BuildKit.

    Args:
        targets: Targets, such as ``image-pipeline``.
        root: Root of the repository.
        registry: First part of the images' names.
        base: Name of the base image.
        wheels: Address of a page with wheels that no index has.
    """
    done = subprocess.run(
        ["make", *targets, f"REGISTRY={registry}", "DOCKER_BUILD=docker build --network host --force-rm"],
        cwd=root,
        env={**os.environ, "DOCKER_BUILDKIT": "0", "BASE_IMAGE": base, "PIP_FIND_LINKS": wheels},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
