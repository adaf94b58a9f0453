import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from artifacts import without_checksums

from textgate.components.contracts import Dataset, Preprocess, Source
from textgate.components.ingest.component import ingest
from textgate.components.preprocess.component import preprocess


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": f"text {index}", "label": index % 2}) for index in range(20)]
    path.write_text("\n".join([*lines, lines[0], "not json"]))
    return Source(uri=str(path))


def artifact(path: Path) -> Any:
    return SimpleNamespace(path=str(path), metadata={})


def test_the_components_write_datasets_and_their_metadata(source: Source, tmp_path: Path) -> None:
    raw, clean = artifact(tmp_path / "raw"), artifact(tmp_path / "clean")
    ingest.python_func(source=source.model_dump_json(), source_version="1", code="1", dataset=raw)
    settings = Preprocess().model_dump_json()
    preprocess.python_func(raw=raw, preprocess=settings, code="1", dataset=clean)
    for output, rows_out, rejected in ((raw, 21, 1), (clean, 20, 2)):
        fingerprint = Dataset.open(output.path).manifest.fingerprint
        expected = {"rows_in": 22, "rows_out": rows_out, "rejected": rejected, "fingerprint": fingerprint}
        assert without_checksums(output) == expected


def test_a_component_ends_with_one_line_and_exit_code_2_on_bad_input(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = source.model_copy(update={"label": "labl"})
    with pytest.raises(SystemExit) as ended:
        ingest.python_func(
            source=wrong.model_dump_json(), source_version="", code="", dataset=artifact(tmp_path / "raw")
        )
    assert ended.value.code == 2
    printed = capsys.readouterr().out
    assert "textgate error: no column 'labl' in a.jsonl; did you mean 'label'?" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "raw").exists()


def test_the_components_run_as_kfp_tasks(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kfp import dsl, local

    monkeypatch.chdir(tmp_path)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))

    @dsl.pipeline  # type: ignore[untyped-decorator]
    def both(source: str, settings: str) -> dsl.Dataset:
        raw = ingest(source=source, source_version="1", code="1")
        clean = preprocess(raw=raw.outputs["dataset"], preprocess=settings, code="1")
        return clean.outputs["dataset"]

    done = both(source=source.model_dump_json(), settings=Preprocess().model_dump_json())
    manifest = Dataset.open(done.output.path).manifest
    assert manifest.rows_in == 22 == manifest.rows_out + sum(manifest.rejected.values())
    assert manifest.rejected == {"duplicate": 1, "not a record": 1}
    assert done.output.metadata["fingerprint"] == manifest.fingerprint
