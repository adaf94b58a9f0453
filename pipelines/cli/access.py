"""``textgate store access``: a key and a policy for each part of a deployment."""

import json
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import click

from textgate.components.contracts import InputError, write_file
from textgate.components.storage.access import ROLES, SourceFolder, policy, seaweedfs_config
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.store_options import bucket_option

_KEY = "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\n"


@click.command(
    epilog=example(
        "textgate store access k8s/access",
        "textgate store access k8s/access --bucket films --data s3://films/data/ --data s3://corpora/reviews/",
    )
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--data",
    multiple=True,
    metavar="S3-URI",
    show_default="data/ of the bucket",
    help="Folder with the data of sources (repeatable).",
)
@bucket_option
def access(folder: Path, data: tuple[str, ...], bucket: str) -> None:
    """Write an S3 key and a policy for each role.

    Files of FOLDER: ROLE.env has a new random access key and secret key; a file that exists is kept. ROLE.json is the
    IAM policy, for AWS and MinIO. seaweedfs.json has all keys and policies, for weed s3 -config.

    No store is contacted. The roles and what each may do are in docs/cluster.md, section Credentials.
    """
    sources = [_source_folder(uri) for uri in data] or [SourceFolder(bucket, "data/")]
    folder.mkdir(parents=True, exist_ok=True)
    keys = {role: _key(folder / f"{role}.env") for role in ROLES}
    for role in ROLES:
        write_file(folder / f"{role}.json", json.dumps(policy(role, bucket, sources), indent=2) + "\n")
    config = json.dumps(seaweedfs_config(keys, bucket, sources), indent=2) + "\n"
    write_file(folder / "seaweedfs.json", config, mode=0o600)
    for role, rights in ROLES.items():
        click.echo(f"{role:<9} {rights.purpose}")


def _key(path: Path) -> tuple[str, str]:
    """Return access key and secret key of a file, which is written if it does not exist.

    Raises:
        InputError: The file holds no key.
    """
    if not path.exists():
        write_file(path, _KEY.format(secrets.token_hex(10), secrets.token_hex(20)), mode=0o600)
    values = dict(line.split("=", 1) for line in path.read_text("utf-8").splitlines() if "=" in line)
    found = values.get("AWS_ACCESS_KEY_ID"), values.get("AWS_SECRET_ACCESS_KEY")
    if not all(found):
        raise InputError(f"{path} has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: complete it, or remove it")
    return str(found[0]), str(found[1])


def _source_folder(uri: str) -> SourceFolder:
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc or not uri.endswith("/"):
        raise InputError(f"--data {uri} is not of the form s3://bucket/ or s3://bucket/folder/")
    return SourceFolder(parts.netloc, parts.path.lstrip("/"))
