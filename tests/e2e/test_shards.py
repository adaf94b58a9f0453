"""A run that reads the files of a source in parallel parts."""

import pyarrow.csv
import pyarrow.parquet
import pytest
from e2e.conftest import Workspace


@pytest.mark.slow
def test_a_run_in_parts_gives_the_same_dataset_and_the_same_model(workspace: Workspace) -> None:
    source = workspace.folder / "films"
    source.mkdir()
    rows = pyarrow.csv.read_csv(workspace.folder / "films.csv")
    for file in range(4):
        pyarrow.parquet.write_table(rows.slice(file * 75, 75), source / f"{file}.parquet")
    shared = ("run", "films.yaml", "--source", str(source), "--set")
    plain = workspace.run_json(*shared, "resources.shards=1")
    sharded = workspace.run_json(*shared, "resources.shards=3")
    decisions = [[(one["bundle"], one["dataset"]) for one in run["decisions"]] for run in (plain, sharded)]
    assert decisions[0] == decisions[1]
    assert plain["champion"] == sharded["champion"]
    assert plain["data"] == sharded["data"]
    steps = {step["name"] for step in sharded["steps"]}
    parts = {f"{step} (part {part})" for step in ("ingest-part", "clean-part") for part in range(3)}
    assert parts | {"join-parts", "preprocess-parts"} <= steps

    cached = workspace.run(*shared, "resources.shards=3")
    assert "join-parts: 300 rows in, 300 kept\njoin-parts: cached\n" in cached.stderr
    assert "preprocess-parts: 300 rows in, " in cached.stderr

    (source / "2.parquet").write_bytes(b"damaged")
    done = workspace.run(*shared, "resources.shards=3")
    assert done.returncode == 2
    assert "2.parquet is damaged: it is not readable as Parquet" in done.stderr
    assert "Traceback" not in done.stderr
