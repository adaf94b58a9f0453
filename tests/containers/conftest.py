"""The images, built by ``make`` from the Dockerfiles on a substitute for their base image."""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers.engine import Images, build_images, docker

from textgate.components.version import __version__

ROOT = Path(__file__).parents[2]
REGISTRY = "textgate-test"
BASE = f"{REGISTRY}/base:bookworm"
PORT = 8765
"""Port that serves torch's wheel; fixed, so that a second build hits the layer cache."""
# Debian's python slim images leave these out too; device files come from the engine.
EXCLUDED = [
    *("./dev", "./usr/share/doc", "./usr/share/locale", "./usr/share/man"),
    *("./var/cache/apt", "./var/lib/apt/lists"),
]


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip without a running container engine and debootstrap, which builds a base image without a registry."""
    for program, package in (("docker", "docker.io"), ("debootstrap", "debootstrap")):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} here: apt-get install {package}")
    done = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no container engine answers here, start dockerd: {(done.stderr or done.stdout).strip()[-300:]}")


@pytest.fixture(scope="session")
def base(engine: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian with Python, without this machine's certificates and package index settings."""
    if not docker("images", "--quiet", BASE):
        root = tmp_path_factory.mktemp("base") / "root"
        packages = "python3,python3-pip,python3-venv,ca-certificates"
        command = ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        excluded = [f"--exclude={path}" for path in EXCLUDED]
        with subprocess.Popen(["tar", "-C", root, *excluded, "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(["docker", "import", "-", BASE], stdin=tar.stdout, check=True, capture_output=True)
        assert tar.returncode == 0
        shutil.rmtree(root)
    return BASE


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a page with torch's wheel, downloaded with this machine's settings of pip."""
    folder = tmp_path_factory.mktemp("wheels")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "torch==2.13.0"]
    done = subprocess.run(download, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", PORT), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{PORT}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def images(base: str, wheels: str) -> Images:
    """Build the pipeline and the serving image without BuildKit."""
    build_images("image-pipeline", "image-serving", root=ROOT, registry=REGISTRY, base=base, wheels=wheels)
    return Images(f"{REGISTRY}/pipeline:{__version__}", f"{REGISTRY}/serving:{__version__}")
