"""Turn a bundle into the one that would be served; a bundle that is served as it is, is passed on."""

import shutil
from pathlib import Path

from textgate.components.contracts import Export, ModelBundle, new_folder
from textgate.components.families import family


def export_bundle(bundle_folder: Path, settings: Export, output: Path) -> ModelBundle:
    """Write the served bundle to ``output``.

    Raises:
        InputError: the bundle is damaged.
    """
    bundle = ModelBundle.load(bundle_folder)
    with new_folder(output) as folder:
        runtime = family(bundle.family).export(bundle_folder, bundle, settings.target, folder)
        if runtime is None:
            print(f"nothing to export: a {bundle.family} bundle is served as it is and passed on", flush=True)
            shutil.copytree(bundle_folder, folder, dirs_exist_ok=True)
            return bundle
        recipe = {**bundle.recipe, "export": settings.model_dump(mode="json")}
        exported = bundle.model_copy(update={"runtime": runtime, "recipe": recipe}).write(folder)
        size = sum(entry.size for entry in exported.files.values())
        print(f"exported {settings.target}: {size / 1e6:,.1f} MB", flush=True)
        return exported
