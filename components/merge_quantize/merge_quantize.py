"""Merge an adapter into the base it was trained on; a bundle without one is passed on as it is."""

import shutil
from pathlib import Path

from textgate.components.contracts import ModelBundle, new_folder
from textgate.components.families import family


def merge_bundle(bundle_folder: Path, output: Path) -> ModelBundle:
    """Write the merged bundle to ``output``, or the same bundle when its family has nothing to merge.

    Raises:
        InputError: the bundle is damaged.
    """
    bundle = ModelBundle.load(bundle_folder)
    with new_folder(output) as folder:
        done = family(bundle.family).merge(bundle_folder, bundle, folder)
        if done is None:
            print(
                f"nothing to merge: the {bundle.family} family trains no adapter; the bundle is passed on", flush=True
            )
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True)
            return bundle
        print(done, flush=True)
        return bundle.write(folder)
