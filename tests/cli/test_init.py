"""`textgate init`: the columns and labels it finds in a file, and the recipe it writes."""

import json
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli import in_process
from sources.web_server import Page, web_server

from textgate.components.contracts import Source
from textgate.components.ingest.ingest import ingest_source
from textgate.components.storage import Store
from textgate.pipelines import recipes
from textgate.pipelines.cli.recipe_draft import recipe_name
from textgate.pipelines.inspection import data_profile
from textgate.pipelines.training import compile_pipeline

CSV = "id,review,sentiment\n" + "".join(
    f"{index},a {'moving' if index % 2 else 'dull'} film of number {index},{'good' if index % 2 else 'bad'}\n"
    for index in range(40)
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


run = partial(in_process.run, "init")
run_json = partial(in_process.run_json, "init")
fails = partial(in_process.fails, "init")


def ingested(path: Path) -> dict[str, dict[str, int]]:
    """Read the source of a recipe as a run does, and return the counts of its labels by split."""
    source: Source = recipes.load("recipe.yaml").source
    return ingest_source(source, path / "dataset", path / "downloads").counts


def test_a_commented_recipe_is_written_that_run_accepts(folder: Path) -> None:
    (folder / "films.csv").write_text(CSV + "40,,good\n41,a film,\n")
    result = run("films.csv")
    assert result.exit_code == 0, result.output
    assert "wrote recipe.yaml: text column 'review', label column 'sentiment'" in result.stdout
    assert "labels: bad (20), good (20)" in result.stdout
    assert "next: textgate run recipe.yaml" in result.stdout

    recipe = recipes.load("recipe.yaml")
    assert (recipe.name, recipe.model, recipe.source.uri) == ("films", "films", "films.csv")
    assert (recipe.source.text, recipe.source.label) == ("review", "sentiment")
    assert recipe.source.labels == {"bad": "bad", "good": "good"}
    text = (folder / "recipe.yaml").read_text()
    assert "# Name of the text column" in text
    assert '"bad": "bad"  # 20 rows (50.0%)' in text
    assert "Counted in 42 rows, 2 of them without text or label." in " ".join(text.replace("#", "").split())
    assert all(len(line) <= 120 for line in text.splitlines() if "pypi://" not in line)
    compile_pipeline(recipe, folder / "pipeline.yaml")
    assert sum(ingested(folder)["all"].values()) == 40


def test_a_recipe_is_not_overwritten_without_force(folder: Path) -> None:
    (folder / "films.csv").write_text(CSV)
    (folder / "recipe.yaml").write_text("mine")
    assert "recipe.yaml exists already: overwrite it with --force, or name another file with -o" in fails("films.csv")
    assert (folder / "recipe.yaml").read_text() == "mine"
    assert run_json("films.csv", "-o", "other.yaml")["recipe"] == "other.yaml"
    assert run_json("films.csv", "--force")["name"] == "films"
    assert recipes.load("recipe.yaml").name == "films"


def test_columns_may_be_named(folder: Path) -> None:
    (folder / "films.csv").write_text(CSV.replace("id,review,sentiment", "label,review,other"))
    assert "over" not in run("films.csv", "--label", "other").output
    assert recipes.load("recipe.yaml").source.label == "other"
    assert "no column 'othr' in films.csv; did you mean 'other'?" in fails("films.csv", "--label", "othr", "--force")


@pytest.mark.parametrize("name", ["films.jsonl", "films.jsonl.gz", "films.parquet", "films.tsv"])
def test_every_format_of_ingest_is_read(folder: Path, name: str) -> None:
    rows = [{"stars": index % 3, "body": f"some words about film {index}", "id": index} for index in range(30)]
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), folder / name)
    elif name.endswith(".tsv"):
        lines = ["stars\tbody\tid", *(f"{row['stars']}\t{row['body']}\t{row['id']}" for row in rows)]
        (folder / name).write_text("\n".join(lines))
    else:
        content = "\n".join(map(json.dumps, rows)).encode()
        if name.endswith(".gz"):
            import gzip

            content = gzip.compress(content)
        (folder / name).write_bytes(content)
    found = run_json(name)
    assert (found["text"], found["label"], found["name"]) == ("body", "stars", "films")
    assert found["labels"] == {"0": 10, "1": 10, "2": 10}
    assert sum(ingested(folder)["all"].values()) == 30


def test_a_table_without_a_header_gets_column_names(folder: Path) -> None:
    rows = (f'{1 + index % 2},"a title {index}","a somewhat longer description {index}"' for index in range(20))
    (folder / "news.csv").write_text("\n".join(rows))
    found = run_json("news.csv")
    assert (found["text"], found["label"], found["rows"]) == ("column3", "column1", 20)
    assert recipes.load("recipe.yaml").source.columns == ["column1", "column2", "column3"]
    assert sum(ingested(folder)["all"].values()) == 20


def test_the_test_split_of_a_folder_is_used(folder: Path) -> None:
    (folder / "films").mkdir()
    (folder / "films" / "train.csv").write_text(CSV)
    (folder / "films" / "test.csv").write_text(CSV)
    assert run_json("films")["rows"] == 80
    recipe = recipes.load("recipe.yaml")
    assert recipe.source.test == "split == test"
    assert {name: sum(counts.values()) for name, counts in ingested(folder).items()} == {"all": 40, "test": 40}


def test_a_folder_per_class_needs_no_columns(folder: Path) -> None:
    for label in ("neg", "pos"):
        (folder / "films" / label).mkdir(parents=True)
        for index in range(3):
            (folder / "films" / label / f"{index}.txt").write_text(f"a film {label} {index}")
    assert run_json("films")["labels"] == {"neg": 3, "pos": 3}
    assert sum(ingested(folder)["all"].values()) == 6


def test_a_source_in_the_store_is_read(folder: Path, store: Store) -> None:
    store.put("films.csv", CSV.encode())
    found = run_json(f"s3://{store.bucket}/films.csv")
    assert (found["name"], found["labels"]) == ("films", {"bad": 20, "good": 20})
    assert recipes.load("recipe.yaml").source.uri == f"s3://{store.bucket}/films.csv"


def test_the_query_of_a_url_is_sent_and_not_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXTGATE_DOWNLOADS", str(folder / "downloads"))
    with web_server() as web:
        web.pages["/films.csv?sig=5ec2e7"] = Page(CSV.encode())
        result = run(f"{web.address}/films.csv?sig=5ec2e7")
    assert result.exit_code == 0, result.output
    written = (folder / "recipe.yaml").read_text()
    assert f"{web.address}/films.csv?****" in written
    assert "5ec2e7" not in written + result.output


def test_labels_that_yaml_would_misread_are_quoted(folder: Path) -> None:
    labels = ["no", "1e5", 'a "b": c', "# d", "null", "é 😀"]
    rows = [{"text": f"text {index}", "label": labels[index % len(labels)]} for index in range(24)]
    (folder / "odd.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert set(run_json("odd.jsonl")["labels"]) == set(labels)
    assert recipes.load("recipe.yaml").source.labels == {label: label for label in sorted(labels)}
    assert len(ingested(folder)["all"]) == len(labels)


@pytest.mark.parametrize(
    ("labels", "positive"),
    [(("bad", "good"), "good"), (("fraud", "legit"), "fraud"), (("no", "yes"), "yes"), (("0", "1"), "1")],
)
def test_the_positive_class_of_two_labels_is_written_out(labels: tuple[str, str], positive: str, folder: Path) -> None:
    rows = (f"text {index},{labels[index % 2]}" for index in range(40))
    (folder / "two.csv").write_text("text,label\n" + "\n".join(rows))
    assert run("two.csv").exit_code == 0
    assert recipes.load("recipe.yaml").preprocess.positive == positive


def test_a_source_with_many_labels_lists_some_of_them(folder: Path) -> None:
    rows = (f"text {index},class{index % 60}" for index in range(240))
    (folder / "many.csv").write_text("text,label\n" + "\n".join(rows))
    result = run("many.csv")
    assert "class16 (4)" in result.stdout
    assert "and 10 more" in result.stdout
    assert recipes.load("recipe.yaml").preprocess.positive is None
    assert recipes.load("recipe.yaml").source.labels is None
    assert "60 labels in 240 rows" in (folder / "recipe.yaml").read_text()


def test_labels_of_a_large_source_are_not_pinned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_profile, "_MAX_ROWS", 10)
    (folder / "films.csv").write_text(CSV)
    assert run_json("films.csv")["rows"] == 10
    assert recipes.load("recipe.yaml").source.labels is None
    assert "2 labels in the first 10 rows" in (folder / "recipe.yaml").read_text()


def test_what_cannot_be_used_is_one_sentence(folder: Path) -> None:
    (folder / "one.csv").write_text("text,label\na,x\nb,x\n")
    (folder / "empty.csv").write_text("text,label\n")
    (folder / "numbers.csv").write_text("".join(f"{index},{index + 100}\n" for index in range(5)))
    (folder / "unique.csv").write_text("text,label\n" + "".join(f"a{index},b{index}\n" for index in range(1_200)))
    (folder / "words.doc").write_text("x")
    wrong = {
        "one.csv": "the column 'label' of one.csv has the value 'x' only: a classifier needs at least two labels",
        "empty.csv": "empty.csv has no row that can be read",
        "numbers.csv": "no column of numbers.csv looks like one of labels: name it with --label",
        "unique.csv": "the column 'label' of unique.csv has over 1,000 values: name the column that holds the labels",
        "words.doc": "the format of words.doc is not known by its name",
    }
    assert fails("missing.csv") == "Error: there is no file or folder missing.csv"
    for name, sentence in wrong.items():
        assert sentence in fails(name)
        assert not (folder / "recipe.yaml").exists()
    assert run("one.csv", "-o", "recipe.txt").exit_code == 2


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("data/My Films (2024).csv.gz", "my-films-2024"),
        ("s3://bucket/folder/", "folder"),
        ("hf://org/Data_Set@0123", "data-set"),
        ("pypi://movies/0.0.2/movies/all.csv#sha256=ab", "all"),
        ("https://example.org/films.csv?key=1", "films"),
        ("...", "my-model"),
        ("x" * 80 + ".csv", "x" * 63),
    ],
)
def test_a_recipe_is_named_after_its_source(uri: str, name: str) -> None:
    assert recipe_name(uri) == name
