import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import InputError, ModelBundle, OnnxRuntime

WriteBundle = Callable[[Path, bytes], Path]


def test_a_bundle_comes_back_as_it_was_written(bundle_folder: Path) -> None:
    bundle = ModelBundle.load(bundle_folder)
    assert bundle.labels == ["no", "yes"]
    assert ModelBundle.model_validate_json(bundle.model_dump_json()) == bundle
    assert bundle.files["weights.bin"].size == len(b"weights")


def test_the_fingerprint_follows_every_byte(tmp_path: Path, write_bundle: WriteBundle) -> None:
    first, again, other = (
        ModelBundle.load(write_bundle(tmp_path / name, content)).fingerprint
        for name, content in (("1", b"weights"), ("2", b"weights"), ("3", b"Weights"))
    )
    assert first == again != other


@settings(deadline=None, max_examples=30)
@given(content=st.binary(min_size=1), position=st.integers(0), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found_and_its_file_named(
    tmp_path_factory: pytest.TempPathFactory, write_bundle: WriteBundle, content: bytes, position: int, bit: int
) -> None:
    folder = write_bundle(tmp_path_factory.mktemp("bundles") / "bundle", content)
    damaged = bytearray(content)
    damaged[position % len(content)] ^= 1 << bit
    (folder / "weights.bin").write_bytes(damaged)
    with pytest.raises(InputError, match=r"weights\.bin has been changed"):
        ModelBundle.load(folder)


def test_a_missing_an_added_and_a_linked_file_are_found(bundle_folder: Path) -> None:
    (bundle_folder / "more.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"more\.bin is not named in bundle\.json"):
        ModelBundle.load(bundle_folder)
    (bundle_folder / "more.bin").unlink()
    weights = bundle_folder / "weights.bin"
    os.rename(weights, bundle_folder.parent / "elsewhere")
    with pytest.raises(InputError, match=r"weights\.bin is missing"):
        ModelBundle.load(bundle_folder)
    weights.symlink_to(bundle_folder.parent / "elsewhere")
    with pytest.raises(InputError, match=r"weights\.bin has been changed"):
        ModelBundle.load(bundle_folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "./a", "bundle.json", "a//b"])
def test_a_manifest_may_only_name_files_inside(bundle_folder: Path, name: str) -> None:
    manifest = json.loads((bundle_folder / "bundle.json").read_text())
    manifest["files"][name] = manifest["files"]["weights.bin"]
    (bundle_folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="does not lie inside the bundle"):
        ModelBundle.load(bundle_folder)


@settings(deadline=None, max_examples=40)
@given(content=st.binary())
def test_any_bytes_for_a_manifest_are_refused_in_words(content: bytes) -> None:
    with pytest.raises(InputError, match="here is not a bundle manifest"):
        ModelBundle.parse(content, "here")


def test_the_runtime_is_told_by_its_name(bundle_folder: Path) -> None:
    runtime = OnnxRuntime(precision="int8", max_tokens=64, opset=20, inputs=["input_ids"])
    bundle = ModelBundle.load(bundle_folder).model_copy(update={"runtime": runtime})
    assert ModelBundle.model_validate_json(bundle.model_dump_json()).runtime == runtime


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a model bundle"):
        ModelBundle.load(tmp_path)
