"""The recipes of examples/corpora read corpora as they are published; the files here have the same layouts."""

import json
from pathlib import Path

import pytest

from textgate.components.contracts import Dataset, Recipe
from textgate.components.ingest.ingest import ingest_source

RECIPES = Path(__file__).parents[2] / "examples" / "corpora"
CLINC = {
    "oos_val": [["a show on broadway", "oos"]],
    "val": [["in spanish, meet me tomorrow is said how", "translate"]],
    "train": [["what expression would i use to say i love you", "translate"], ["send ten dollars to mom", "transfer"]],
    "oos_test": [["how much has the dow changed today", "oos"]],
    "test": [["how would you say fly in italian", "translate"]],
    "oos_train": [["how much is an overdraft fee for bank", "oos"]],
}
SPAM = b'''v1,v2,,,\r
ham,"Go until jurong point, crazy.. only in bugis n great world",,,\r
spam,"Your free ringtone is waiting, POBox 5249"," MK17 92H. 450Ppw 16""",,\r
ham,"Ok lar... \x93I'll b going\x94, \xa3100 a ""night""",,,\r
'''
TWEETS = b"@user nice new signage\xe2\x80\xa6 \n@user go\n"
FILES = {
    "tweeteval-hate": {
        **{f"{split}_text.txt": TWEETS for split in ("test", "train", "val")},
        **{f"{split}_labels.txt": b"0\n1\n" for split in ("test", "train", "val")},
        "mapping.txt": b"0\tnot-hate\n1\thate",
    },
    "clinc-intents": {"data_full.json": json.dumps(CLINC, indent=4).encode()},
    "trec-coarse": {
        "train_5500.label": b"ENTY:cremat What was Dal\xed 's film ?\nDESC:manner How did serfdom develop ?\n",
        "TREC_10.label": b"NUM:dist How far is it from Denver to Aspen ?\n",
    },
    "sms-spam": {"spam.csv": SPAM},
}
TEXTS = {
    "tweeteval-hate": {
        split: [("@user nice new signage… ", "not-hate"), ("@user go", "hate")]
        for split in ("all", "test", "validation")
    },
    "clinc-intents": {
        split: [(text, label) for text, label in CLINC[published]]
        for split, published in (("all", "train"), ("test", "test"), ("validation", "val"))
    },
    "trec-coarse": {
        "all": [("What was Dalí 's film ?", "ENTY"), ("How did serfdom develop ?", "DESC")],
        "test": [("How far is it from Denver to Aspen ?", "NUM")],
    },
    "sms-spam": {
        "all": [
            ("Go until jurong point, crazy.. only in bugis n great world", "ham"),
            ('Your free ringtone is waiting, POBox 5249  MK17 92H. 450Ppw 16"', "spam"),
            ('Ok lar... “I\'ll b going”, £100 a "night"', "ham"),
        ],
    },
}
"""Texts with labels of each ingested split, by recipe."""


def test_every_recipe_has_its_excerpt() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == FILES.keys() == TEXTS.keys()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_recipe_reads_the_corpus_as_it_is_published(name: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for file, content in FILES[name].items():
        (corpus / file).write_bytes(content)
    source = Recipe.parse((RECIPES / f"{name}.yaml").read_text("utf-8"), name).source
    is_file = len(FILES[name]) == 1
    uri = str(corpus / source.uri if is_file else corpus)
    ingest_source(source.model_copy(update={"uri": uri}), tmp_path / "dataset", tmp_path)
    dataset = Dataset.open(tmp_path / "dataset")
    found = {split: [(row.text, row.label) for row in dataset.rows(split)] for split in dataset.manifest.counts}
    assert found == TEXTS[name]
    assert dataset.manifest.rejected == {}
