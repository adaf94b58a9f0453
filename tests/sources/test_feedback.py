"""Feedback on a served model as a source."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli import in_process

from textgate.components.contracts import Dataset, InputError, Recipe, Source
from textgate.components.ingest.ingest import ingest_source
from textgate.components.sources import content_version, fetch, with_bucket
from textgate.components.sources import feedback as module
from textgate.components.storage import Store
from textgate.serving.feedback import FeedbackLog


@pytest.fixture(autouse=True)
def bucket(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the test's bucket the default one."""
    monkeypatch.setattr(module, "DEFAULT_BUCKET", store.bucket)


@contextmanager
def feedback_log(store: Store, share: float = 0.0) -> Iterator[FeedbackLog]:
    """Yield a server's log, which is in the store afterwards."""
    with TemporaryDirectory() as spool:
        log = FeedbackLog(store, Path(spool), share)
        yield log
        log.close()


def serve(store: Store, share: float = 1.0, requests: int = 3, model: str = "films") -> None:
    """Log requests of two texts each, all predicted ``good``, and feedback that calls the second one ``bad``."""
    with feedback_log(store, share) as log:
        for number in range(requests):
            request = f"{model}-{number}"
            log.add_prediction(request, model, "v1", [f"fine {number}", f"dull {number}"], ["good", "good"], [0.9, 0.6])
            log.add_feedback(request, 0, model, "good")
            log.add_feedback(request, 1, model, "bad")


def read(uri: str, tmp_path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(fetch(uri, tmp_path)).to_pylist())


def test_feedback_is_joined_with_the_logged_texts(store: Store, tmp_path: Path) -> None:
    serve(store)
    serve(store, model="other")
    rows = read("feedback://films", tmp_path)
    assert [(row["text"], row["label"], row["predicted"], row["corrected"]) for row in rows] == [
        pair for n in range(3) for pair in ((f"fine {n}", "good", "good", "no"), (f"dull {n}", "bad", "good", "yes"))
    ]
    assert {row["version"] for row in rows} == {"v1"}
    times = [datetime.fromisoformat(row["time"]) for row in rows]
    assert times == sorted(times)
    assert times[0].tzinfo == UTC


def test_the_last_label_of_a_text_counts(store: Store, tmp_path: Path) -> None:
    serve(store, requests=1)
    with feedback_log(store) as log:
        log.add_feedback("films-0", 0, "films", "bad")
    assert {row["text"]: row["label"] for row in read("feedback://films", tmp_path)} == {
        "fine 0": "bad",
        "dull 0": "bad",
    }


def test_only_the_last_days_are_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(store)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=10)

    monkeypatch.setattr(module, "datetime", Later)
    assert len(read("feedback://films?days=10", tmp_path)) == 6
    for function in (lambda uri: fetch(uri, tmp_path), content_version):
        with pytest.raises(
            InputError, match=r"there is no feedback at feedback://films\?days=9: clients of the server"
        ):
            function("feedback://films?days=9")


def test_the_version_changes_with_feedback_and_not_with_predictions(store: Store) -> None:
    serve(store)
    before = content_version("feedback://films")
    with feedback_log(store, 1.0) as log:
        log.add_prediction("more", "films", "v1", ["text"], ["good"], [0.9])
    assert content_version("feedback://films") == before
    serve(store, requests=1)
    assert content_version("feedback://films") != before


def test_feedback_without_a_logged_text_is_left_out_with_a_warning(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(store)
    with feedback_log(store, 0.0) as log:
        log.add_prediction("unlogged", "films", "v1", ["text"], ["good"], [0.9])
        log.add_feedback("unlogged", 0, "films", "bad")
    assert len(read("feedback://films", tmp_path)) == 6
    assert capsys.readouterr().out == (
        "textgate warning: 1 of the 7 labels at feedback://films are left out, because their texts were not logged: "
        "textgate serve --log-predictions 100 logs the texts of all requests\n"
    )


def test_feedback_without_any_logged_text_is_an_input_error(store: Store, tmp_path: Path) -> None:
    serve(store, share=0.0)
    with pytest.raises(InputError) as error:
        fetch("feedback://films", tmp_path)
    assert str(error.value) == (
        "the text of none of the 6 labels at feedback://films was logged: textgate serve --log-predictions 100 logs "
        "the texts of all requests"
    )


def test_another_bucket_is_named_in_the_uri(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(store)
    monkeypatch.setattr(module, "DEFAULT_BUCKET", "another")
    assert len(read(f"feedback://films?bucket={store.bucket}", tmp_path)) == 6


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("feedback://films", "feedback://films?bucket=prod"),
        ("feedback://films?days=3", "feedback://films?days=3&bucket=prod"),
        ("feedback://films?bucket=mine", "feedback://films?bucket=mine"),
        ("s3://films/x?days=3", "s3://films/x?days=3"),
        ("films.csv", "films.csv"),
    ],
)
def test_a_run_reads_the_feedback_in_its_own_bucket(uri: str, expected: str) -> None:
    assert with_bucket(Source(uri=uri), "prod").uri == expected


@pytest.mark.parametrize(
    "uri",
    [
        "feedback://",
        "feedback://Films",
        "feedback://films/x",
        "feedback://films?days=0",
        "feedback://films?days=-1",
        "feedback://films?days=",
        "feedback://films?day=3",
    ],
)
def test_another_form_is_an_input_error(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not of the form feedback://MODEL, feedback://MODEL"):
        fetch(uri, tmp_path)


def test_corrections_are_a_further_source(store: Store, tmp_path: Path) -> None:
    serve(store)
    (tmp_path / "films.csv").write_text("text,label\nnice,1\nugly,0\n")
    source = Source(
        uri=str(tmp_path / "films.csv"),
        labels={"0": "bad", "1": "good"},
        also={"feedback": Source(uri="feedback://films", where="corrected == yes", metadata=["version"])},
    )
    ingest_source(source, tmp_path / "out", tmp_path / "downloads")
    dataset = Dataset.open(tmp_path / "out")
    assert [(row.id, row.text, row.label, row.metadata) for row in dataset.rows("all")] == [
        ("main/films.csv:1", "nice", "good", {"version": "", "source": "main"}),
        ("main/films.csv:2", "ugly", "bad", {"version": "", "source": "main"}),
        *(
            (f"feedback/films.parquet:{2 * n + 2}", f"dull {n}", "bad", {"version": "v1", "source": "feedback"})
            for n in range(3)
        ),
    ]
    assert dataset.manifest.rows_filtered == 3


def test_the_log_is_inspected_and_drafted_as_a_recipe(store: Store, tmp_path: Path) -> None:
    serve(store, requests=20)
    arguments = ("feedback://films", "--workspace", str(tmp_path), "--bucket", store.bucket)
    assert in_process.run_json("inspect", *arguments)["rows"] == 40
    drafted = in_process.run_json("init", *arguments, "--output", str(tmp_path / "films.yaml"))
    assert drafted["labels"] == {"bad": 20, "good": 20}
    recipe = Recipe.parse((tmp_path / "films.yaml").read_text(), "films.yaml")
    assert recipe.source.uri == f"feedback://films?bucket={store.bucket}"
