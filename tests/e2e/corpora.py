"""Small versions of the published corpora in their original formats, with labels that a bag of words separates."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

SENTENCES = [
    "the weather in the city was {} for most of the week",
    "people who live near the river said it was a {} idea",
    "nobody expected the answer to be as {} as this one",
    "we have been waiting for something {} since last summer",
    "my neighbour thinks that the new road is {} for everyone",
]


def texts(words: list[str], count: int) -> Iterator[tuple[int, str]]:
    """Yield different English sentences, each with the index of the word that it contains."""
    rng = random.Random(13)
    for index in range(count):
        word = index % len(words)
        yield word, f"{rng.choice(SENTENCES).format(words[word])} and it took {index} days"


def webis(folder: Path) -> Path:
    """Write Webis-Clickbait-17: posts and their judgements in two files, joined on the id."""
    folder.mkdir()
    with (folder / "instances.jsonl").open("w") as instances, (folder / "truth.jsonl").open("w") as truth:
        for index, (label, text) in enumerate(texts(["sober", "unbelievable"], 90)):
            identity = str(600_000_000_000 + index)
            instances.write(
                json.dumps(
                    {
                        "id": identity,
                        "postText": [text],
                        "postTimestamp": "Sat Nov 21 2026",
                        "postMedia": [],
                        "targetTitle": text,
                        "targetParagraphs": [text, text],
                    }
                )
                + "\n"
            )
            judged = {"truthMean": float(label), "truthJudgments": [float(label)] * 5}
            truth.write(
                json.dumps({"id": identity, **judged, "truthClass": ["no-clickbait", "clickbait"][label]}) + "\n"
            )
    return folder


def salminen(folder: Path) -> Path:
    """Write the fake reviews: computer-generated (CG) and original (OR)."""
    folder.mkdir()
    path = folder / "fake reviews dataset.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["category", "rating", "label", "text_"])
        for label, text in texts(["lovely", "broken"], 90):
            table.writerow(["Home_and_Kitchen_5", "5.0", ["CG", "OR"][label], text])
    return path


def jigsaw(folder: Path) -> Path:
    """Write the toxic comments: many more clean than toxic ones, and one in another language."""
    folder.mkdir()
    path = folder / "train.csv"
    kinds = ["severe_toxic", "obscene", "threat", "insult", "identity_hate"]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "comment_text", "toxic", *kinds])
        for index, (label, text) in enumerate(texts(["helpful", "useful", "stupid"], 150)):
            table.writerow([f"{index:016x}", f'"{text}\n\n"', int(label == 2), *[0] * 5])
        table.writerow(["f" * 16, "Das ist ein deutscher Satz, den niemand hier lesen sollte.", 0, *[0] * 5])
    return path


def ag_news(folder: Path) -> Path:
    """Write AG News as CSV: no header, classes from 1, title and description."""
    folder.mkdir()
    for split, count in (("train", 120), ("test", 40)):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            table = csv.writer(file, quoting=csv.QUOTE_ALL)
            for label, text in texts(["foreign", "athletic", "profitable", "scientific"], count):
                table.writerow([label + 1, f"{split} title", text])
    return folder


def imdb(folder: Path) -> Path:
    """Write the aclImdb tree, with markup and unlabelled reviews."""
    for split in ("train", "test"):
        for index, (label, text) in enumerate(texts(["dreadful", "wonderful"], 80)):
            path = folder / split / ["neg", "pos"][label] / f"{index}_{1 + 8 * label}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}<br /><br />seen in {split}")
    (folder / "train" / "unsup").mkdir()
    (folder / "train" / "unsup" / "0_0.txt").write_text("nobody has judged this")
    (folder / "README").write_text("Large Movie Review Dataset v1.0")
    (folder / "imdb.vocab").write_text("the\nand\n")
    return folder


def snippets(folder: Path) -> Path:
    """Write the quickstart's table of film reviews."""
    folder.mkdir()
    path = folder / "reviews.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label", "source"])
        for label, text in texts(["dreadful", "wonderful"], 90):
            table.writerow([text, label, "rotten_tomatoes"])
    return path


CORPORA: dict[str, Callable[[Path], Path]] = {
    "clickbait": webis,
    "reviews": salminen,
    "toxic": jigsaw,
    "agnews": ag_news,
    "imdb": imdb,
    "quickstart": snippets,
}
"""Writer of each corpus by the first word of a recipe's name."""
