"""Containers for the steps of a local run (``--runner docker``).

A container sees only the folder of the runs, so sources, certificates and downloads are placed in it.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from textgate.components.contracts import InputError, Source
from textgate.components.sources import content_version
from textgate.components.storage.s3_settings import aws_variables

_CERTIFICATES = ("AWS_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_AWS_FILES = {"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}
_PREFIXES = ("AWS_", "HF_", "PIP_", "WANDB_", "MLFLOW_", "TEXTGATE_PROCESSES", "TEXTGATE_SOURCE_URLS")


def docker_runner(runs: Path) -> Any:
    """Return the kfp runner that starts a container per step.

    Args:
        runs: Folder of the runs, which kfp mounts.
    """
    from docker.types import Mount
    from kfp import local

    # The store listens on this machine's loopback interface, and artifacts must belong to the user who started the
    # run. As on a cluster, a container can write only to the run's folder and to a volume that is deleted with it.
    return local.DockerRunner(
        environment=_environment(runs),
        network_mode="host",
        user=f"{os.getuid()}:{os.getgid()}",
        read_only=True,
        mounts=[Mount("/tmp", None)],  # noqa: S108
    )


def image_id(image: str) -> str:
    """Return the id of the local image with this name, or an empty string if the engine has not pulled it yet.

    Raises:
        InputError: The Python package docker is missing, or no Docker engine answers.
    """
    try:
        import docker

        return str(docker.from_env().images.get(image).id)
    except ImportError as error:
        raise InputError("--runner docker needs the Python package docker: pip install docker") from error
    except docker.errors.ImageNotFound:
        return ""
    except docker.errors.DockerException as error:
        raise InputError(f"--runner docker needs a Docker engine that answers: {error}") from error


def copy_source(source: Source, runs: Path) -> Source:
    """Copy a local source into the folder of the runs; return the source with the path of the copy."""
    corrections = _copy(source.corrections, runs) if source.corrections else None
    return source.model_copy(update={"uri": _copy(source.uri, runs), "corrections": corrections})


def _copy(uri: str, runs: Path) -> str:
    """Copy a local file or folder into the folder of the runs; return the path of the copy, or another URI as it is."""
    path = Path(uri)
    if "://" in uri:
        return uri
    copy = runs / "sources" / content_version(uri)[:16] / path.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(path, copy) if path.is_dir() else shutil.copy2(path, copy)
    return str(copy)


def _environment(runs: Path) -> dict[str, str]:
    """Return the environment of the containers: this shell's settings, with certificates copied below ``runs``."""
    settings = {key: value for key, value in os.environ.items() if key.startswith(_PREFIXES)}
    if _AWS_FILES & settings.keys() or "AWS_ACCESS_KEY_ID" not in settings:
        # The files of boto3's profiles are not in the containers.
        settings = {key: value for key, value in settings.items() if key not in _AWS_FILES} | aws_variables()
    for name in _CERTIFICATES:
        bundle = Path(os.environ.get(name, ""))
        if bundle.is_file():
            copy = runs / "certificates" / f"{name}.pem"
            copy.parent.mkdir(exist_ok=True)
            settings[name] = str(shutil.copyfile(bundle, copy))
    downloads = runs / "downloads"
    folders = {"HOME": "/tmp", "TEXTGATE_DOWNLOADS": str(downloads), "HF_HOME": str(downloads / "huggingface")}  # noqa: S108
    return {**settings, **folders}
