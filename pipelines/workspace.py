"""The workspace: the folder of the embedded store, the runs, the caches and the downloaded models.

<workspace>/store/…                      the embedded S3 store, unless the environment names another
<workspace>/models/<model>/<version>/…   bundles downloaded from the registry
"""

from pathlib import Path

from textgate.components.contracts import ModelBundle
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


def download_bundle(workspace: Path, registry: Registry, reference: ModelRef) -> tuple[str, Path, ModelBundle]:
    """Download a model version into the workspace unless it is there, and verify its checksums.

    Returns:
        The version, the folder of the bundle, and its manifest.

    Raises:
        InputError: If the model or version does not exist, the channel is empty, or a file of the bundle has changed.
    """
    version = registry.resolve(reference)
    folder = workspace / "models" / reference.model / version
    bundle = ModelBundle.load(folder) if folder.exists() else registry.download(reference.model, version, folder)
    return version, folder, bundle
