"""A run whose cache is damaged: nothing damaged is used, all of it is named and made again, and the decision stays."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from textgate.pipelines.runners.verified_cache import VerifiedCache

CACHED = ["ingest", "preprocess", "check-labels", "train", "evaluate", "merge-quantize", "export-onnx", "evaluate-2"]

Damage = Callable[[bytes, bytes], bytes]
"""Function of the content and of the same file of another run that returns a damaged content."""


def one_bit(content: bytes, other: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 16]) + content[middle + 1 :]


def truncated(content: bytes, other: bytes) -> bytes:
    return content[: len(content) // 2]


def of_another_run(content: bytes, other: bytes) -> bytes:
    return other if other != content else content[::-1]


WAYS: list[Damage] = [one_bit, truncated, of_another_run]


class Cache:
    """The newest cache entry of each step in a workspace, and the artifacts of another run."""

    def __init__(self, workspace: Any) -> None:
        """Run the recipe twice, and once with other data and for another model."""
        self.workspace = workspace
        films = (workspace.folder / "films.csv").read_text().splitlines()
        (workspace.folder / "other.csv").write_text("\n".join(films[:280]) + "\n")
        self.first = workspace.run_json("run", "films.yaml")
        self.undisturbed = workspace.run_json("run", "films.yaml")
        self.other = workspace.run_json("run", "films.yaml", "--source", "other.csv", "--set", "model=others")
        (self.folder,) = (workspace.folder / ".textgate" / "cache").iterdir()

    def entry(self, step: str) -> Path:
        entries = [path for path in self.folder.glob("*.json") if f"/{step}/".encode() in path.read_bytes()]
        own = [path for path in entries if f"/{self.other['run']}/".encode() not in path.read_bytes()]
        return max(own, key=lambda path: path.stat().st_mtime_ns)

    def files(self, step: str) -> list[list[Path]]:
        """Return the files of each artifact of a step."""
        outputs = json.loads(self.entry(step).read_bytes().partition(b"\n")[2])
        artifacts = [Path(outputs[name]["uri"]) for name in sorted(outputs)]
        return [sorted(p for p in [path, *path.rglob("*")] if p.is_file()) for path in artifacts]

    def damage(self, file: Path, way: Damage) -> None:
        content = file.read_bytes()
        if file.is_relative_to(self.folder):
            others = sorted(self.folder.glob("*.json"))
            other = others[others.index(file) - 1]
        else:
            runs = self.workspace.folder / ".textgate" / "runs"
            other = runs / self.other["run"] / Path(*file.relative_to(runs).parts[1:])
        damaged = way(content, other.read_bytes())
        assert damaged != content
        file.write_bytes(damaged)


@pytest.mark.slow
def test_no_file_of_the_cache_is_used_or_passed_over_when_damaged(workspace: Any) -> None:
    cache = Cache(workspace)
    reasons: list[str] = []
    verified = VerifiedCache(str(cache.folder), reasons.append)
    damaged = 0
    for step in CACHED:
        entry = cache.entry(step)
        artifacts = [file for files in cache.files(step) for file in files]
        for file in [entry, *artifacts]:
            content = file.read_bytes()
            for way in WAYS:
                cache.damage(file, way)
                assert verified.get(entry.stem) is None, (file, way)
                named = "its cache entry" if file == entry else "the cached"
                assert reasons.pop() == f"{named} {file} was changed"
                file.write_bytes(content)
                damaged += 1
            assert verified.get(entry.stem) is not None, file
        assert artifacts
    assert reasons == []
    print(f"{damaged} damages of {len(CACHED)} steps: all named, none used")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("steps", [CACHED[:4], CACHED[4:]], ids=["early", "late"])
def test_the_decision_of_a_run_does_not_depend_on_damage_in_its_cache(workspace: Any, steps: list[str]) -> None:
    """Damage an artifact or the cache entry of one step after the other, each in another way, and run the recipe."""
    cache = Cache(workspace)
    before = workspace.registry()
    assert cache.first["verdict"] == "promote"
    # From the last step to the first: if a step runs again, so do those that depend on it.
    for index, step in enumerate(reversed(steps)):
        artifacts = cache.files(step)
        targets = [artifacts[(index + 1) % len(artifacts)][0]]
        if index % 2:
            targets.append(cache.entry(step))
        for turn, file in enumerate(targets):
            cache.damage(file, WAYS[(index + turn) % len(WAYS)])
            done = workspace.run("run", "films.yaml", "--json")
            assert done.returncode == 0, done.stderr
            named = "its cache entry" if file.is_relative_to(cache.folder) else "the cached"
            warnings = [line for line in done.stderr.splitlines() if "it runs again" in line]
            assert warnings == [f"{step}: warning: it runs again, because {named} {file} was changed"]
            result = json.loads(done.stdout)
            outcomes = {one["name"]: one["outcome"] for one in result["steps"]}
            assert outcomes[step] == "done"
            assert {outcomes[earlier] for earlier in CACHED[: CACHED.index(step)]} <= {"cached"}
            for key in ("verdict", "decision", "version", "metrics", "champion", "data"):
                assert result[key] == cache.undisturbed[key], (file, key)
    assert workspace.registry() == before
