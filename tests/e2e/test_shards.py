"""A source of several files, read in parts by the command."""

import pyarrow.csv
import pyarrow.parquet
import pytest
from e2e.conftest import Workspace


@pytest.mark.slow
def test_a_run_in_parts_comes_to_the_same_dataset_and_the_same_model(workspace: Workspace) -> None:
    source = workspace.folder / "films"
    source.mkdir()
    rows = pyarrow.csv.read_csv(workspace.folder / "films.csv")
    for file in range(4):
        pyarrow.parquet.write_table(rows.slice(file * 75, 75), source / f"{file}.parquet")
    shared = ("run", "films.yaml", "--source", str(source), "--set")
    whole = workspace.run_json(*shared, "resources.shards=1")
    joined = workspace.run_json(*shared, "resources.shards=3")
    judged = [[(one["bundle"], one["dataset"]) for one in run["decisions"]] for run in (whole, joined)]
    assert judged[0] == judged[1]
    assert whole["champion"] == joined["champion"]
    steps = {step["name"] for step in joined["steps"]}
    parts = {f"{step} (part {number})" for step in ("ingest-part", "clean-part") for number in range(3)}
    assert parts | {"join-parts", "preprocess-parts"} <= steps

    (source / "2.parquet").write_bytes(b"damaged")
    done = workspace.run(*shared, "resources.shards=3")
    assert done.returncode == 2
    assert "2.parquet is damaged: it is not readable as Parquet" in done.stderr
    assert "Traceback" not in done.stderr
