"""The Dockerfiles pass hadolint and use the same versions as the rest of the project."""

import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

from textgate import __version__
from textgate.components import image

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "images").glob("*.Dockerfile"))
HADOLINT = Path(sysconfig.get_path("scripts")) / "hadolint"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
TORCH = "2.13.0"


def lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "--no-color", *paths], capture_output=True, text=True)


def pins(lock: Path) -> set[str]:
    return set(re.findall(r"^[\w.-]+==[^\s;]+", lock.read_text("utf-8"), re.MULTILINE))


def test_hadolint_finds_nothing() -> None:
    assert [path.name for path in DOCKERFILES] == [
        "pipeline.Dockerfile",
        "serving-gpu.Dockerfile",
        "serving.Dockerfile",
        "train-gpu.Dockerfile",
    ]
    done = lint(*DOCKERFILES)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_finds_faults(tmp_path: Path) -> None:
    faults = {
        "DL3002": ("USER 10001:10001", "USER 0"),
        "DL3007": ("FROM ${BASE_IMAGE}\n", "FROM python:latest\n"),
        "DL3020": ("COPY . .", "ADD . ."),
        "DL3025": ('CMD ["', 'CMD "'),
    }
    dockerfile = (ROOT / "images" / "pipeline.Dockerfile").read_text("utf-8")
    for rule, (old, new) in faults.items():
        assert old in dockerfile
        (tmp_path / rule).write_text(dockerfile.replace(old, new))
    done = lint(*(tmp_path / rule for rule in faults))
    assert done.returncode == 1
    assert {(Path(path).name, rule) for path, rule in re.findall(r"^(\S+?):\d+ (\w+)", done.stdout, re.MULTILINE)} == {
        (rule, rule) for rule in faults
    }


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_pins_its_parts_and_runs_as_an_unprivileged_user(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.findall(r"^ARG BASE_IMAGE=(.*)", text, re.MULTILINE) == ["python:3.11.15-slim-bookworm"]
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${BASE_IMAGE}", "${BASE_IMAGE}"]
    assert re.findall(r"^USER (.*)", text, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^ARG VERSION=(.*)", text, re.MULTILINE) == [__version__]
    assert "--mount" not in text  # builds without BuildKit
    tracking = {"images/tracking.lock"} if "\nARG TRACKING=\n" in text else set()
    assert set(re.findall(r"-r (images/[\w.-]+)", text)) == {"images/build.lock", f"images/{path.stem}.lock"} | tracking
    for installed in re.findall(r"pip install (.*)", text):
        pinned = "--require-hashes" in installed or "--no-index" in installed or "torch==${TORCH}" in installed
        assert pinned, installed


def test_the_variants_for_tracking_are_built_from_the_same_file_under_another_name() -> None:
    for name in ("pipeline", "train-gpu"):
        made = subprocess.run(
            ["make", "--dry-run", f"image-{name}-tracking", "REGISTRY=r.example"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        ).stdout
        build = made[made.index("docker build") :]
        assert f"--file images/{name}.Dockerfile --tag r.example/{name}-tracking:{__version__}" in build
        assert "--build-arg TRACKING" in build
    plain = subprocess.run(["make", "--dry-run", "image-pipeline"], cwd=ROOT, capture_output=True, text=True).stdout
    assert f"--tag textgate/pipeline:{__version__}" in plain
    assert "TRACKING" not in plain


def test_one_version_of_textgate_and_one_of_torch_everywhere() -> None:
    assert {image.IMAGE, image.GPU_IMAGE} == {f"textgate/{name}:{__version__}" for name in ("pipeline", "train-gpu")}
    assert re.findall(r"torch==([\d.]+)", (ROOT / "Makefile").read_text("utf-8")) == [TORCH, TORCH]
    assert f"ARG TORCH={TORCH}\n" in (ROOT / "images" / "pipeline.Dockerfile").read_text("utf-8")
    assert f"torch=={TORCH}" in pins(ROOT / "images" / "train-gpu.lock")


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("build", []),
        ("serving", ["serving"]),
        ("serving-gpu", ["serving"]),
        ("pipeline", ["pipelines"]),
        ("train-gpu", ["pipelines", "gpu"]),
        ("tracking", ["tracking", "model-registry"]),
    ],
)
def test_a_lock_file_is_a_subset_of_the_complete_one(name: str, extras: list[str]) -> None:
    own = pins(ROOT / "images" / f"{name}.lock")
    # The serving image for GPUs has another build of the same version of ONNX Runtime.
    own = {pin.replace("onnxruntime-gpu==", "onnxruntime==") for pin in own}
    cuda = {pin for pin in own if re.match(r"(torch|triton|cuda|nvidia)", pin)}
    assert bool(cuda) == name.endswith("-gpu")
    assert own - cuda <= pins(ROOT / "requirements.lock")
    wanted = [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    wanted += PROJECT["dependencies"] if extras else []
    named = {pin.partition("==")[0] for pin in own}
    assert {re.match(r"[\w.-]+", line)[0] for line in wanted} <= named  # type: ignore[index]


def test_everything_but_torch_is_locked_for_training() -> None:
    wanted = {re.match(r"[\w.-]+", line)[0] for line in PROJECT["optional-dependencies"]["train"]}  # type: ignore[index]
    named = {pin.partition("==")[0] for pin in pins(ROOT / "images" / "pipeline.lock")}
    assert wanted - named == {"textgate", "torch"}
    assert "torch" not in {pin.partition("==")[0] for pin in pins(ROOT / "images" / "serving.lock")}
