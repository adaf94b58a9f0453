"""References to finished models: resolving them, and fetching their bundles."""

from pathlib import Path

import pytest

from textgate.components.contracts import InputError, ModelBundle
from textgate.components.sources import fetch_bundle, is_mutable, is_path, resolve_ref
from textgate.components.storage import Registry, Store


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store)


@pytest.fixture
def version(registry: Registry, bundle_folder: Path) -> str:
    """Version of ``films`` that both champion and challenger point at."""
    published = registry.publish("films", bundle_folder)
    for channel in ("champion", "challenger"):
        registry.update_channel("films", published, run="run", reason="test", expected=None, channel=channel)
    return published


@pytest.mark.parametrize("reference", ["films", "films@challenger", "films@VERSION"])
def test_a_model_is_fetched_in_the_version_it_points_at(
    reference: str, registry: Registry, version: str, tmp_path: Path
) -> None:
    reference = reference.replace("VERSION", version)
    assert resolve_ref(reference, registry) == f"films@{version}"
    folder, bundle = fetch_bundle(reference, registry, tmp_path / "scratch")
    assert bundle.fingerprint.startswith(version)
    assert ModelBundle.load(folder) == bundle
    # An existing copy is reused.
    (folder / "bundle.json").touch()
    before = (folder / "bundle.json").stat().st_mtime_ns
    assert fetch_bundle(reference, registry, tmp_path / "scratch") == (folder, bundle)
    assert (folder / "bundle.json").stat().st_mtime_ns == before


def test_a_local_folder_is_used_in_place(registry: Registry, bundle_folder: Path, tmp_path: Path) -> None:
    assert resolve_ref(str(bundle_folder), registry) == str(bundle_folder)
    assert fetch_bundle(str(bundle_folder), registry, tmp_path / "scratch")[0] == bundle_folder
    assert not (tmp_path / "scratch").exists()


def test_a_folder_of_the_store_is_downloaded(
    registry: Registry, store: Store, bundle_folder: Path, tmp_path: Path
) -> None:
    store.upload_folder(bundle_folder, "finished/films")
    folder, bundle = fetch_bundle(f"s3://{store.bucket}/finished/films/", registry, tmp_path / "scratch")
    assert folder.is_relative_to(tmp_path / "scratch")
    assert bundle == ModelBundle.load(bundle_folder)


def test_only_a_version_is_immutable() -> None:
    mutable = ["films", "films@champion", "films@0123456789a", "/some/films@0123456789ab", "./films", "s3://a/b/"]
    assert [reference for reference in mutable if not is_mutable(reference)] == []
    assert not is_mutable("films@0123456789ab")
    assert [is_path(reference) for reference in ("films", "films@challenger", "./films", "films.d")] == [
        *(False, False),
        *(True, True),
    ]


def test_missing_bundles_are_input_errors(registry: Registry, version: str, store: Store, tmp_path: Path) -> None:
    for reference, sentence in {
        "filmz": r"no model 'filmz' in s3://.*; did you mean films\?",
        "films@shadow": "the model films has no shadow: run a recipe that promotes one",
        "films@0123456789ab": f"the model films has no version '0123456789ab'; it has {version}",
        str(tmp_path / "none"): "none is not a model bundle: bundle.json cannot be read",
        f"s3://{store.bucket}/none/": "there is nothing at s3://",
    }.items():
        with pytest.raises(InputError, match=f"the finished system {reference}, .* must be there first: .*{sentence}"):
            fetch_bundle(reference, registry, tmp_path / "scratch")
    for reference in ("filmz", "films@shadow"):
        with pytest.raises(InputError, match=f"the finished system {reference}, .* must be there first"):
            resolve_ref(reference, registry)
    assert not [path for path in tmp_path.rglob("films/*") if path.suffix != ".lock"]


def test_a_changed_bundle_is_an_input_error(registry: Registry, version: str, store: Store, tmp_path: Path) -> None:
    store.put(f"models/films/versions/{version}/weights.bin", b"Weights")
    with pytest.raises(InputError, match=r"the finished system films, .* weights\.bin has been changed"):
        fetch_bundle("films", registry, tmp_path / "scratch")
    assert list((tmp_path / "scratch").rglob("*.bin")) == []
