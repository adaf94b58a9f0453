"""Ingest and preprocess of five published corpora, as small copies in their published format."""

import csv
import dataclasses
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgate.components.contracts import Dataset, InputError, Preprocess, Source
from textgate.components.contracts.recipe.source import FileFormat, Layout
from textgate.components.ingest.ingest import ingest_source
from textgate.components.preprocess.preprocess import preprocess_dataset

SPLITS = ("train", "validation", "test")


def prepare(source: dict[str, Any], preprocess: dict[str, Any], folder: Path) -> tuple[Dataset, Dataset]:
    """Run ingest and preprocess; return both datasets."""
    ingest_source(Source.model_validate(source), folder / "raw", folder / "downloads")
    preprocess_dataset(folder / "raw", Preprocess.model_validate(preprocess), folder / "clean")
    raw, clean = Dataset.open(folder / "raw"), Dataset.open(folder / "clean")
    for manifest in (raw.manifest, clean.manifest):
        assert manifest.rows_in == manifest.rows_out + sum(manifest.rejected.values())
    return raw, clean


def texts(dataset: Dataset, *splits: str) -> dict[str, str]:
    """Return the label by text."""
    return {row.text: row.label for split in splits for row in dataset.rows(split)}


def kept(dataset: Dataset) -> dict[str, int]:
    """Return the number of rows per label in all splits."""
    return dict(sum((Counter(counts) for counts in dataset.manifest.counts.values()), Counter[str]()))


def reasons(dataset: Dataset) -> dict[str, str]:
    return {row.id: row.reason for row in dataset.rejected()}


# Webis-Clickbait-17: instances.jsonl and truth.jsonl, joined on the id.

WEBIS = {
    "join": {"left": "instances.jsonl", "right": "truth.jsonl", "on": "id"},
    "text": "postText",
    "label": "truthClass",
    "labels": {"no-clickbait": "no-clickbait", "clickbait": "clickbait"},
}
TWEETS = {
    "normalizer": {"remove_html": True, "remove_urls": True, "remove_mentions": True, "remove_hashtags": True},
    "validation": 0.1,
    "test": 0.1,
}


def write_webis(folder: Path, posts: dict[str, list[str]], first: int = 608_310_377_143_799_810) -> None:
    """Write posts, given by class; posts of the empty class have no judgement."""
    folder.mkdir(parents=True)
    (folder / "media").mkdir()
    (folder / "media" / "photo_608310377143799810.jpg").write_bytes(b"\xff\xd8")
    instances, truth = [], []
    for truth_class, written in posts.items():
        for text in written:
            identity = str(first + len(instances))
            instances.append(
                {
                    "id": identity,
                    "postTimestamp": "Tue Jun 09 16:31:10 +0000 2015",
                    "postText": [text],
                    "postMedia": ["media/photo_608310377143799810.jpg"],
                    "targetTitle": "A title",
                    "targetDescription": "A description",
                    "targetKeywords": "one, two",
                    "targetParagraphs": ["A paragraph.", "Another."],
                    "targetCaptions": [],
                }
            )
            judged = {"truthJudgments": [0.0, 0.6666667, 0.0, 0.33333334, 0.0], "truthMean": 0.2, "truthMode": 0.0}
            truth.append({"id": identity, **judged, "truthClass": truth_class})
    # The judgements are in another order, and one has no post.
    truth = [{"id": "1", "truthClass": "clickbait"}, *(line for line in truth[::-1] if line["truthClass"])]
    (folder / "instances.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in instances))
    (folder / "truth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in truth))


def test_webis_clickbait_17(tmp_path: Path) -> None:
    no, yes = "no-clickbait", "clickbait"
    write_webis(
        tmp_path / "webis",
        {
            no: [
                "UK &amp; EU agree, says @BBCNews https://t.co/a1 #Brexit",
                *(f"Report {n} is out" for n in range(30)),
            ],
            yes: [
                "You won&#39;t believe it",
                *(f"{n} ways to win" for n in range(10)),
                "3 ways to win http://t.co/b",
                "",
            ],
            "": ["Never judged"],
        },
    )
    raw, clean = prepare({"uri": str(tmp_path / "webis"), **WEBIS}, TWEETS, tmp_path)
    assert raw.manifest.counts == {"all": {no: 31, yes: 12}}
    assert reasons(clean) == {
        "instances.jsonl:43": "duplicate",
        "instances.jsonl:44": "empty text",
        "instances.jsonl:45": "no match in the joined file",
    }
    found = texts(clean, *SPLITS)
    assert found["UK & EU agree, says Brexit"] == no
    assert found["You won't believe it"] == yes
    assert kept(clean) == {no: 31, yes: 11}


def test_webis_clickbait_17_in_several_folders(tmp_path: Path) -> None:
    for part, first in (("clickbait17-test-170720", 10), ("clickbait17-validation-170630", 100)):
        posts = {label: [f"{label} {first + n}" for n in range(4)] for label in ("no-clickbait", "clickbait")}
        write_webis(tmp_path / "webis" / part, posts, first=first)
    raw, clean = prepare({"uri": str(tmp_path / "webis"), **WEBIS}, TWEETS, tmp_path)
    assert raw.manifest.counts == {"all": {"no-clickbait": 8, "clickbait": 8}}
    assert len({row.id for split in SPLITS for row in clean.rows(split)}) == 16


# Fake reviews of Salminen et al.: category,rating,label,text_ with CG and OR.


def test_salminen_fake_reviews(tmp_path: Path) -> None:
    path = tmp_path / "fake reviews dataset.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\r\n")
        table.writerow(["category", "rating", "label", "text_"])
        for number in range(50):
            table.writerow(["Home_and_Kitchen_5", "5.0", "CG", f"Love this! Well made, sturdy, and {number} times"])
            table.writerow(["Books_5", "1.0", "OR", f'He said "number {number}",\nand\n\nthat was it.'])
        table.writerow(["Books_5", "2.0", "CG", 'He said "number 7", and that was it.'])
        table.writerow(["Books_5", "2.0", "CG", ""])
    source = {"uri": str(path), "text": "text_", "label": "label", "labels": {"OR": "original", "CG": "generated"}}
    _, clean = prepare(source, {"validation": 0.1, "test": 0.2}, tmp_path)
    assert clean.manifest.labels == ["original", "generated"]
    assert kept(clean) == {"original": 49, "generated": 50}
    assert clean.manifest.rejected == {"conflicting label": 2, "empty text": 1}
    assert texts(clean, *SPLITS)['He said "number 8", and that was it.'] == "original"


# Jigsaw: id,comment_text,toxic,…: comments of many lines, in many languages, one in ten of them toxic.


def test_jigsaw_toxic_comments(tmp_path: Path) -> None:
    header = "id,comment_text,toxic,severe_toxic,obscene,threat,insult,identity_hate\n"
    clean_row = (
        '{:016x},"Explanation {}\nWhy the edits made under my username were reverted?\n\n""Thanks""",0,0,0,0,0,0\n'
    )
    toxic_row = '{:016x},"""\n\nYou are {} times an idiot, and everybody knows it!  \n""",1,0,1,0,1,0\n'
    foreign = '{:016x},"Ich verstehe nicht, warum dieser Artikel gelöscht wurde, {}.\n",{},0,0,0,0,0\n'
    rows = [
        *(clean_row.format(number, number) for number in range(100)),
        *(toxic_row.format(1_000 + number, number) for number in range(20)),
        *(foreign.format(2_000 + number, number, int(number % 2)) for number in range(6)),
        f"{3_000:016x},COCKSUCKER BEFORE YOU PISS AROUND ON MY WORK,1,1,1,0,1,0\n",
        f"{3_001:016x},ok,0,0,0,0,0,0\n",
    ]
    (tmp_path / "train.csv").write_text(header + "".join(rows), "utf-8")
    source = {
        "uri": str(tmp_path / "train.csv"),
        "text": "comment_text",
        "label": "toxic",
        "labels": {0: "clean", 1: "toxic"},
    }
    preprocess = {"language": "en", "balance": True, "validation": 0.1, "test": 0.1}
    raw, clean = prepare(source, preprocess, tmp_path)
    assert raw.manifest.counts == {"all": {"clean": 104, "toxic": 24}}
    counts = clean.manifest.counts
    assert counts["train"]["clean"] == counts["train"]["toxic"]
    assert (
        counts["validation"]["clean"] + counts["test"]["clean"]
        > counts["validation"]["toxic"] + counts["test"]["toxic"]
    )
    left_out = 101 + 21 - clean.manifest.rows_out
    assert clean.manifest.rejected == {"another language": 6, "left out to balance the classes": left_out}
    assert '" You are 7 times an idiot, and everybody knows it! "' in texts(clean, *SPLITS)


# AG News: CSV without a header and classes from 1; and the hub's version with the same recipe.

AG_NEWS = {
    "text": "text",
    "label": "label",
    "labels": {0: "World", 1: "Sports", 2: "Business", 3: "Sci/Tech"},
    "test": "split == test",
    "csv": {
        "columns": ["class", "title", "description"],
        "text": ["title", "description"],
        "label": "class",
        "labels": {1: "World", 2: "Sports", 3: "Business", 4: "Sci/Tech"},
    },
}
NEWS = [
    (3, "Wall St. Bears Claw Back", "Reuters - Wall Street's dwindling\\band, see green."),
    (4, 'A "Smart" Phone', "It costs \\$99, says the maker's lawyer."),
    (1, "Iraq Halts Exports", "AFP - Oil &lt;b&gt;exports&lt;/b&gt; stopped #39;for now#39;."),
    (2, "", "Phelps, again."),
]


@pytest.fixture
def ag_news(tmp_path: Path) -> Path:
    folder = tmp_path / "ag_news_csv"
    folder.mkdir()
    (folder / "classes.txt").write_text("World\nSports\nBusiness\nSci/Tech\n")
    (folder / "readme.txt").write_text("AG's News Topic Classification Dataset\n\nVersion 3\n")
    for split, copies in (("train", 20), ("test", 3)):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            table = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for number in range(copies):
                table.writerows((label, title, f"{text} {split} {number}") for label, title, text in NEWS)
    return folder


def test_ag_news_as_csv(ag_news: Path, tmp_path: Path) -> None:
    assert '"4","A ""Smart"" Phone","It costs \\$99' in (ag_news / "train.csv").read_text()
    preprocess = {"normalizer": {"remove_html": True}, "validation": 0.1}
    raw, clean = prepare({"uri": str(ag_news), **AG_NEWS}, preprocess, tmp_path)
    assert raw.manifest.labels == ["World", "Sports", "Business", "Sci/Tech"]
    assert [row.id for row in raw.rows("test")] == [f"test.csv:{number}" for number in range(1, 13)]
    assert texts(clean, "test") == {
        text: label
        for number in range(3)
        for text, label in {
            f"Wall St. Bears Claw Back Reuters - Wall Street's dwindling\\band, see green. test {number}": "Business",
            f'A "Smart" Phone It costs \\$99, says the maker\'s lawyer. test {number}': "Sci/Tech",
            f"Iraq Halts Exports AFP - Oil exports stopped #39;for now#39;. test {number}": "World",
            f"Phelps, again. test {number}": "Sports",
        }.items()
    }
    assert kept(clean) == dict.fromkeys(raw.manifest.labels, 23)
    assert clean.manifest.counts["test"] == dict.fromkeys(raw.manifest.labels, 3)
    assert clean.manifest.rejected == {}


def test_ag_news_from_the_hub_with_the_same_recipe(ag_news: Path, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    for split in ("train", "test"):
        rows = csv.reader((ag_news / f"{split}.csv").read_text().splitlines())
        lines = [{"text": " ".join(filter(None, parts)), "label": int(number) - 1} for number, *parts in rows]
        (tmp_path / "hub" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    of_hub, _ = prepare({"uri": f"hf://{tmp_path / 'hub'}", **AG_NEWS}, {}, tmp_path / "1")
    of_csv, _ = prepare({"uri": str(ag_news), **AG_NEWS}, {}, tmp_path / "2")
    for split in ("all", "test"):
        assert texts(of_hub, split) == texts(of_csv, split)
    # The layout applies to CSV only: the downloaded JSONL files are read by the other keys.
    of_files, _ = prepare({"uri": str(tmp_path / "hub"), **AG_NEWS}, {}, tmp_path / "3")
    assert texts(of_files, "test") == texts(of_csv, "test")


def test_a_csv_layout_replaces_only_the_keys_it_sets(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("text\tclass\nfine\t1\ndull\t0\n")
    source = Source(uri=str(tmp_path / "a.tsv"), labels={"0": "no", "1": "yes"}, csv=Layout(label="class"))
    ingest_source(source, tmp_path / "out", tmp_path)
    assert texts(Dataset.open(tmp_path / "out"), "all") == {"fine": "yes", "dull": "no"}


@pytest.mark.parametrize(
    ("settings_", "sentence"),
    [
        ({"test": "split == tset"}, "source.test 'split == tset' selects 0 of the 92 rows of .*: it must select some"),
        ({"test": "title != x"}, "source.test 'title != x' selects 92 of the 92 rows of .* leave others to train on"),
        ({"test": "splt == test"}, "no column 'splt' in test.csv; did you mean "),
        (
            {"columns": ["class", "text"], "text": "text"},
            r"no row of test.csv has 2 columns, as are named .*class, text., but 3",
        ),
        ({"text": ["title", "descr"]}, "no column 'descr' in test.csv; did you mean 'description'"),
        ({"columns": None}, "no column 'title' in test.csv"),
    ],
)
def test_a_wrong_csv_layout_is_an_input_error(
    settings_: dict[str, Any], sentence: str, ag_news: Path, tmp_path: Path
) -> None:
    layout = AG_NEWS["csv"] | settings_  # type: ignore[operator]
    test = layout.pop("test", AG_NEWS["test"])
    with pytest.raises(InputError, match=sentence) as error:
        prepare({"uri": str(ag_news), **AG_NEWS, "test": test, "csv": layout}, {}, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out" / "raw").exists()


def test_only_the_row_of_another_width_is_rejected(ag_news: Path, tmp_path: Path) -> None:
    path = ag_news / "train.csv"
    path.write_text('"class","title"\n' + path.read_text())
    raw, _ = prepare({"uri": str(ag_news), **AG_NEWS}, {}, tmp_path)
    assert reasons(raw) == {"train.csv:1": "not a record"}


CELLS = st.lists(
    st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=9)] * 3), max_size=9
)


@settings(deadline=None, max_examples=50)
@given(rows=CELLS, suffix=st.sampled_from(["csv", "tsv"]))
def test_configured_columns_are_read_like_a_header(
    rows: list[tuple[str, str, str]], suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("t")
    rows = [*rows, ("a", "sure", "x"), ("b", "sure", "x")]
    found = []
    for name, header in (("with", [("label", "text", "more")]), ("without", [])):
        buffer = io.StringIO()
        delimiter = {"csv": ",", "tsv": "\t"}[suffix]
        csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([*header, *rows])
        (folder / name).mkdir()
        (folder / name / f"a.{suffix}").write_text(buffer.getvalue(), "utf-8", newline="")
        columns = None if header else ["label", "text", "more"]
        source = Source(
            uri=str(folder / name / f"a.{suffix}"),
            columns=columns,
            text=["text", "more"],
            format=FileFormat(quote='"'),
            max_rejected=1,
        )
        ingest_source(source, folder / name / "out", folder)
        dataset = Dataset.open(folder / name / "out")
        rejected = [dataclasses.replace(row, line=None) for row in dataset.rejected()]
        found.append([list(dataset.rows("all")), rejected])
    assert found[0] == found[1]
    assert [row.text for row in found[0][0]] == [
        " ".join(part for part in (text, more) if part.strip())
        for label, text, more in rows
        if label.strip() and (text.strip() or more.strip())
    ]


# IMDb: aclImdb/{train,test}/{pos,neg}/*.txt, with the other files of the published archive.

IMDB = {
    "labels": {"0": "negative", "neg": "negative", "1": "positive", "pos": "positive"},
    "where": "split != unsupervised and label != unsup",
    "test": "split == test",
}


@pytest.fixture
def acl_imdb(tmp_path: Path) -> Path:
    root = tmp_path / "aclImdb"
    for split, count in (("train", 20), ("test", 5)):
        for label, stars in (("pos", 9), ("neg", 2)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                text = f"A {label} film of {split}.<br /><br />It has {number} <i>stars</i> &amp; more."
                (folder / f"{number}_{stars}.txt").write_text(text)
            (root / split / f"urls_{label}.txt").write_text("http://www.imdb.com/title/tt0064354/usercomments\n")
        (root / split / "labeledBow.feat").write_text("9 0:9 1:1 2:4\n")
    # In both splits, and twice in training.
    (root / "test" / "pos" / "77_10.txt").write_text("The same in both.<br />")
    (root / "train" / "pos" / "77_10.txt").write_text("The same in both.")
    (root / "train" / "neg" / "78_1.txt").write_text("The <br />same in both.")
    (root / "train" / "neg" / "79_1.txt").write_text("A neg film of train. It has 3 stars & more.")
    (root / "train" / "unsup").mkdir()
    for number in range(50):
        # Undecodable, so that reading the file would change the result.
        (root / "train" / "unsup" / f"{number}_0.txt").write_bytes(b"\xff")
    for name in ("README", "imdb.vocab", "imdbEr.txt"):
        (root / name).write_text("the\nand\n")
    return root


def test_acl_imdb(acl_imdb: Path, tmp_path: Path) -> None:
    preprocess = {"normalizer": {"remove_html": True}, "validation": 0.1}
    raw, clean = prepare({"uri": str(acl_imdb), **IMDB}, preprocess, tmp_path)
    assert raw.manifest.counts == {"all": {"negative": 22, "positive": 21}, "test": {"negative": 5, "positive": 6}}
    assert raw.manifest.rows_filtered == 50
    assert [row.id for row in raw.rows("test")][:2] == ["test/neg/0_2.txt", "test/neg/1_2.txt"]
    assert reasons(clean) == {
        "train/neg/78_1.txt": "also in the test split",
        "train/pos/77_10.txt": "also in the test split",
        "train/neg/79_1.txt": "duplicate",
    }
    assert kept(clean) == {"negative": 25, "positive": 26}
    assert clean.manifest.counts["test"] == {"negative": 5, "positive": 6}
    assert texts(clean, "test")["A pos film of test. It has 4 stars & more."] == "positive"


def test_unlabelled_texts_are_rejected_unread_without_a_filter(acl_imdb: Path, tmp_path: Path) -> None:
    raw, _ = prepare({"uri": str(acl_imdb), **IMDB, "where": None}, {}, tmp_path)
    assert raw.manifest.rejected == {"unknown label": 50}
    assert raw.manifest.rows_filtered == 0


def test_a_filter_on_the_text_reads_it(acl_imdb: Path, tmp_path: Path) -> None:
    where = "text == 'The same in both.' or split == test or label == neg"
    source = Source.model_validate(
        {"uri": str(acl_imdb), **IMDB, "where": where, "labels": None, "max_undecodable": 1, "max_rejected": 1}
        | {"format": {"encoding": "utf-8"}}
    )
    manifest = ingest_source(source, tmp_path / "out", tmp_path)
    assert (manifest.rows_filtered, manifest.rejected) == (20, {"undecodable bytes": 50})


def test_a_tree_of_one_level_has_no_split_column(acl_imdb: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'split' in train; did you mean .* It has text, label"):
        prepare({"uri": str(acl_imdb / "train"), **IMDB}, {}, tmp_path)
    raw, _ = prepare({"uri": str(acl_imdb / "train"), "labels": IMDB["labels"]}, {}, tmp_path)
    assert raw.manifest.counts == {"all": {"negative": 22, "positive": 21}}
    assert next(raw.rows("all")).id == "neg/0_2.txt"


def test_a_test_split_without_a_label_is_an_input_error(acl_imdb: Path, tmp_path: Path) -> None:
    for file in (acl_imdb / "test" / "neg").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"the test split of .*aclImdb has no text of the label 'negative'"):
        prepare({"uri": str(acl_imdb), **IMDB}, {}, tmp_path)


def test_a_tree_has_one_level_unless_every_folder_has_subfolders(tmp_path: Path) -> None:
    for name in ("pos/1.txt", "pos/old/1.txt", "neg/1.txt"):
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "films" / name).write_text(f"text of {name}")
    ingest_source(Source(uri=str(tmp_path / "films")), tmp_path / "out", tmp_path)
    assert texts(Dataset.open(tmp_path / "out"), "all") == {"text of neg/1.txt": "neg", "text of pos/1.txt": "pos"}


# Common to all corpora.


def test_the_split_is_the_file_name_unless_the_file_has_the_column(tmp_path: Path) -> None:
    import gzip

    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.v2.csv.gz").write_bytes(gzip.compress(b"text,label\na,x\nb,y\n"))
    (folder / "own.jsonl").write_text('{"text": "c", "label": "x", "split": "test"}\n{"text": "d", "label": "y"}\n')
    (folder / "README.md").write_text("# Data")
    found = Counter()
    for number, where in enumerate(["split == 'train.v2'", "split in [test, 'train.v2']", "split != none"]):
        source = Source(uri=str(folder), where=where)
        found[where] = ingest_source(source, tmp_path / str(number), tmp_path).rows_out
    assert found == {"split == 'train.v2'": 2, "split in [test, 'train.v2']": 3, "split != none": 4}
    (folder / "data.docx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"the format of .*data.docx is not known by its name"):
        ingest_source(Source(uri=str(folder)), tmp_path / "out", tmp_path)


def test_a_list_of_texts_is_joined(tmp_path: Path) -> None:
    lines = [
        {"text": ["one", "two"], "more": "three", "label": "x"},
        {"text": [], "more": ["four", " "], "label": "y"},
        {"text": [""], "more": " ", "label": "y"},
        {"text": ["half \ud800"], "label": "y"},
        {"text": ["one", None], "more": "two", "label": "x"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ingest_source(
        Source(uri=str(tmp_path / "a.jsonl"), text=["text", "more"], max_rejected=1), tmp_path / "out", tmp_path
    )
    dataset = Dataset.open(tmp_path / "out")
    assert texts(dataset, "all") == {"one two three": "x", "four  ": "y"}
    assert list(reasons(dataset).values()) == ["empty text", "undecodable bytes", "not a record"]


def test_a_missing_source_is_an_input_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file or folder .*aclImdb: say where .* with --source"):
        prepare({"uri": str(tmp_path / "aclImdb"), **IMDB}, {}, tmp_path)
