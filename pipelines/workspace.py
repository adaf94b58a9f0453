"""The workspace: the folder of the embedded store, the runs, the caches and the downloaded models.

<workspace>/store/…                      the embedded S3 store, unless the environment names another
<workspace>/models/<model>/<version>/…   bundles downloaded from the registry
"""

from pathlib import Path

from textgate.components.contracts import Source
from textgate.components.sources import download_version
from textgate.components.sources.feedback import with_bucket
from textgate.components.storage import ModelRef, Registry, Store, connect

DEFAULT_WORKSPACE = Path(".textgate")


def open_store(workspace: Path, bucket: str) -> Store:
    """Open the S3 store of the environment, or else the workspace's embedded store, which is started if needed.

    The bucket is created if it does not exist.

    Raises:
        InputError: If the store cannot be reached or refuses the credentials.
    """
    connect(workspace)
    store = Store.from_environment(bucket)
    store.ensure_bucket()
    return store


def connect_source(uri: str, workspace: Path, bucket: str) -> str:
    """Connect to the store if a source is in it, as ``textgate run`` does, and return the URI with the log's bucket.

    Args:
        uri: URI or path of a source.
        workspace: Workspace whose embedded store is used if the environment names no store.
        bucket: Bucket of a ``feedback://`` log that names none.
    """
    if uri.startswith(("s3://", "feedback://")):
        connect(workspace)
    return with_bucket(Source(uri=uri), bucket).uri


def download_bundle(workspace: Path, registry: Registry, reference: ModelRef) -> tuple[str, Path]:
    """Download a model version into the workspace unless it is there and intact; one process downloads, others wait.

    Returns:
        The version and the folder of its bundle. Loading the bundle verifies its checksums.

    Raises:
        InputError: If the model or version does not exist, or the channel is empty.
    """
    version = registry.resolve(reference)
    folder = workspace / "models" / reference.model / version
    download_version(registry, reference.model, version, folder)
    return version, folder
