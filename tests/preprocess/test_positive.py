"""The positive class of two labels: named by the recipe, understood from the labels, or asked for by a warning."""

from pathlib import Path

import pytest

from textgate.components.contracts import Dataset, InputError, Preprocess, Row, dataset_writer
from textgate.components.preprocess.positive import with_positive_last
from textgate.components.preprocess.preprocess import preprocess_dataset


@pytest.mark.parametrize(
    "labels",
    [
        *(("0", "1"), ("no", "yes"), ("False", "true"), ("negative", "positive"), ("ham", "spam"), ("N", "Y")),
        *(("nonhate", "hate"), ("not toxic", "toxic"), ("no-clickbait", "clickbait"), ("legit", "fraud")),
        ("unreliable", "reliable"),
    ],
)
def test_labels_that_make_clear_which_one_is_meant_need_no_word(
    labels: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_positive_last(labels, None) == list(labels)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("labels", [("fraud", "legit"), ("spam", "ham"), ("human", "machine"), ("hate", "nonhate")])
def test_other_labels_keep_their_order_with_a_warning(
    labels: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_positive_last(labels, None) == list(labels)
    warning = capsys.readouterr().out
    assert f"F1, precision and recall are those of '{labels[1]}', the last of the labels" in warning
    assert f"if '{labels[0]}' is the class to find, set preprocess.positive to it" in warning


def test_more_than_two_labels_have_no_positive_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert with_positive_last(["a", "b", "c"], None) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match=r"preprocess.positive=b is for two labels, but there are 3"):
        with_positive_last(["a", "b", "c"], "b")


def test_the_positive_class_of_the_recipe_is_the_last_label_of_the_dataset(tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "raw", ["all"]) as writer:
        for index in range(60):
            writer.add("all", Row(f"mails.csv:{index}", f"text number {index}", ["fraud", "legit"][index % 2]))
        writer.finish("mails.csv", ["fraud", "legit"])
    manifest = preprocess_dataset(tmp_path / "raw", Preprocess(positive="fraud"), tmp_path / "dataset")
    assert manifest.labels == ["legit", "fraud"]
    dataset = Dataset.open(tmp_path / "dataset")
    _, _, classes = dataset.columns("train")
    assert [manifest.labels[index] for index in classes] == [row.label for row in dataset.rows("train")]
    with pytest.raises(InputError, match=r"preprocess.positive is 'frau', but the labels are 'fraud', 'legit'"):
        preprocess_dataset(tmp_path / "raw", Preprocess(positive="frau"), tmp_path / "other")
    assert not (tmp_path / "other").exists()
