import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import InputError, LinearRuntime, ModelBundle, OnnxRuntime, TextNormalizer

WriteBundle = Callable[[Path, bytes], Path]


def test_a_bundle_is_read_as_it_was_write_files(bundle_folder: Path) -> None:
    bundle = ModelBundle.load(bundle_folder)
    assert bundle.labels == ["no", "yes"]
    assert ModelBundle.model_validate_json(bundle.model_dump_json()) == bundle
    assert bundle.files["weights.bin"].size == len(b"weights")


def test_the_fingerprint_depends_on_every_byte(tmp_path: Path, write_bundle: WriteBundle) -> None:
    first, again, other = (
        ModelBundle.load(write_bundle(tmp_path / name, content)).fingerprint
        for name, content in (("1", b"weights"), ("2", b"weights"), ("3", b"Weights"))
    )
    assert first == again != other


@settings(deadline=None, max_examples=30)
@given(content=st.binary(min_size=1), position=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, write_bundle: WriteBundle, content: bytes, position: int, bit: int
) -> None:
    folder = write_bundle(tmp_path_factory.mktemp("bundles") / "bundle", content)
    damaged = bytearray(content)
    damaged[position % len(content)] ^= 1 << bit
    (folder / "weights.bin").write_bytes(damaged)
    with pytest.raises(InputError, match=r"weights\.bin has been changed"):
        ModelBundle.load(folder)


def test_a_missing_an_added_and_a_linked_file_are_errors(bundle_folder: Path) -> None:
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
def test_arbitrary_bytes_as_a_manifest_are_an_input_error(content: bytes) -> None:
    with pytest.raises(InputError, match="here is not a bundle manifest"):
        ModelBundle.parse(content, "here")


def test_the_name_selects_the_runtime_class(bundle_folder: Path) -> None:
    runtime = OnnxRuntime(
        precision="int8",
        max_tokens=64,
        opset=20,
        producer="pytorch 2.13.0",
        inputs={"input_ids": ["rows", "tokens"]},
        outputs={"logits": ["rows", 2]},
    )
    bundle = ModelBundle.load(bundle_folder).model_copy(update={"runtime": runtime})
    assert ModelBundle.model_validate_json(bundle.model_dump_json()).runtime == runtime


def test_a_folder_without_a_manifest_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a model bundle"):
        ModelBundle.load(tmp_path)


NAMES = st.lists(
    st.text("abcé漢 .-", min_size=1, max_size=8).filter(lambda name: name.strip(".") and name != "bundle.json"),
    min_size=1,
    max_size=3,
).map("/".join)
FILES = st.dictionaries(NAMES, st.binary(min_size=1, max_size=50), min_size=1, max_size=4).filter(
    lambda files: not any(other.startswith(f"{name}/") for name in files for other in files)
)


def write_files(folder: Path, files: dict[str, bytes]) -> ModelBundle:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return ModelBundle(
        name="small",
        family="linear",
        runtime=LinearRuntime(ngrams=(1, 2), sublinear=True),
        labels=["no", "yes"],
        normalizer=TextNormalizer(),
        recipe={"train": {"C": 3e-5}},
        metrics={"f1": 0.1 + 0.2},
        dataset="0" * 64,
        versions={},
    ).write(folder)


@settings(deadline=None, max_examples=60)
@given(files=FILES, data=st.data())
def test_any_change_of_any_file_is_an_error_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("bundles")
    manifest = write_files(folder, files)
    assert ModelBundle.load(folder) == ModelBundle.parse(manifest.model_dump_json(), "here")
    assert ModelBundle.load(folder).fingerprint == manifest.fingerprint

    name = data.draw(st.sampled_from(sorted(files)))
    path = folder / name
    aside = folder.parent / f"{folder.name}-aside"
    match data.draw(st.sampled_from(["flip", "cut", "grow", "remove", "rename", "link", "add"])):
        case "flip":
            content = bytearray(files[name])
            content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            path.write_bytes(content)
        case "cut":
            path.write_bytes(files[name][:-1])
        case "grow":
            path.write_bytes(files[name] + b"\0")
        case "remove":
            path.unlink()
        case "rename":
            # Sorts after the old name, so that the first mismatch is the old one.
            path.rename(path.with_name(f"{path.name}~"))
        case "link":
            path.rename(aside)
            path.symlink_to(aside)
        case "add":
            name = "added"
            (folder / name).write_bytes(b"")
    with pytest.raises(InputError) as error:
        ModelBundle.load(folder)
    assert f": {name} " in str(error.value)


def test_a_linked_folder_or_manifest_is_an_input_error(bundle_folder: Path) -> None:
    (bundle_folder.parent / "outside").mkdir()
    (bundle_folder / "inside").symlink_to(bundle_folder.parent / "outside")
    with pytest.raises(InputError, match="inside is not named"):
        ModelBundle.load(bundle_folder)
    (bundle_folder / "inside").unlink()
    (bundle_folder / "bundle.json").rename(bundle_folder.parent / "manifest")
    (bundle_folder / "bundle.json").symlink_to(bundle_folder.parent / "manifest")
    with pytest.raises(InputError, match=r"bundle\.json is a link"):
        ModelBundle.load(bundle_folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(content=JSON, key=st.sampled_from(["runtime", "labels", "normalizer", "metrics", "files", "format_version"]))
def test_arbitrary_json_as_a_manifest_or_a_value_is_accepted_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, content: object, key: str
) -> None:
    with pytest.raises(InputError, match="here is not a bundle manifest"):
        ModelBundle.parse(json.dumps(content), "here")
    manifest = write_files(tmp_path_factory.mktemp("bundles"), {"w": b"1"}).model_dump(mode="json")
    text = json.dumps({**manifest, key: content})
    try:
        parsed = ModelBundle.parse(text, "here")
    except InputError as error:
        message = str(error)
    else:
        message = "here is one"
        assert ModelBundle.parse(parsed.model_dump_json(), "here") == parsed
    assert message.startswith("here ")
