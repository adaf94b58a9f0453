"""Make a bundle whole: an adapter is merged into its base; a bundle that is whole is passed on as it is."""

import shutil
from pathlib import Path

from textgate.components.contracts import ModelBundle, new_folder
from textgate.components.families import family
from textgate.components.storage.fetch import default_downloads, fetch


def merge_bundle(bundle_folder: Path, output: Path) -> ModelBundle:
    """Write the whole bundle to ``output``, or the same bundle when there is nothing to merge.

    Raises:
        InputError: the bundle is damaged, or its checkpoint cannot be fetched.
    """
    bundle = ModelBundle.load(bundle_folder)
    with new_folder(output) as folder:
        checkpoint = fetch(bundle.checkpoint, default_downloads()) if bundle.checkpoint else None
        merged = family(bundle.family).merge(bundle_folder, bundle, checkpoint, folder)
        if merged is None:
            print("nothing to merge: the bundle is whole and passed on", flush=True)
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True)
            return bundle
        runtime, done = merged
        print(done, flush=True)
        return bundle.model_copy(update={"runtime": runtime}).write(folder)
