"""What containers of the steps of a local run need (``--runner docker``): environment, image and sources.

A container sees only the folder of the runs, so sources, certificates and downloads are placed in it.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from textgate.components.contracts import ConflictError, Source, write_file
from textgate.components.sources import content_version, fetch_verified
from textgate.components.storage.s3_settings import aws_variables

_CERTIFICATES = ("AWS_CA_BUNDLE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_AWS_FILES = {"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}
_PREFIXES = ("AWS_", "HF_", "PIP_", "WANDB_", "MLFLOW_", "TEXTGATE_PROCESSES", "TEXTGATE_SOURCE_URLS")


def docker_runner(runs: Path) -> Any:
    """Return the kfp runner by which the steps run in containers (see ``StepContainers``).

    Args:
        runs: Folder of the runs.
    """
    from kfp import local

    return local.DockerRunner(environment=_environment(runs))


def copy_source(source: Source, runs: Path) -> Source:
    """Copy a local source into the folder of the runs; return the source with the path of the copy."""
    corrections = _copy(source.corrections, runs) if source.corrections else None
    return source.model_copy(update={"uri": _copy(source.uri, runs), "corrections": corrections})


def _copy(uri: str, runs: Path) -> str:
    """Copy a local file or folder into the folder of the runs; return the path of the copy, or another URI as it is."""
    path = Path(uri)
    if "://" in uri:
        return uri
    version = content_version(uri)

    def copy(target: Path) -> None:
        shutil.copytree(path, target) if path.is_dir() else shutil.copyfile(path, target)
        if content_version(str(target)) != version:
            raise ConflictError(f"{uri} changed while it was copied: run again")

    return str(fetch_verified(runs / "sources" / version, path.name, uri, copy))


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
            write_file(copy, bundle.read_bytes())
            settings[name] = str(copy)
    downloads = runs / "downloads"
    folders = {"HOME": "/tmp", "TEXTGATE_DOWNLOADS": str(downloads), "HF_HOME": str(downloads / "huggingface")}  # noqa: S108
    return {**settings, **folders}
