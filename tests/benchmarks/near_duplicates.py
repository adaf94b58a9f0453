"""Planted near duplicates: how many are found, and how many of the pairs that are joined are near duplicates.

    python tests/benchmarks/near_duplicates.py FILE...

FILE has one text per line, or is JSON Lines with .gz and the field `text`; of tab-separated lines the longest field is
the text. Of up to 6,000 texts of each file, half get a copy that is changed in one of the ways below. Recall is the
share of the copies in the group of their original. A pair in one group counts as right if it comes from one text, or if
the exact Jaccard index of the shingles is at least the threshold less two standard errors of the estimate: corpora such
as text messages contain near duplicates of their own.
"""

import argparse
import gzip
import itertools
import json
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from textgate.components.contracts.recipe.preprocess import Preprocess
from textgate.components.contracts.text_keys import canonical_text
from textgate.components.preprocess.near_duplicates import near_duplicates
from textgate.components.preprocess.signatures import Signatures

_TEXTS = 6_000
_SHINGLE, _SHORTEST, _STANDARD_ERROR = 3, 20, 0.046


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    threshold = Preprocess().near_duplicates or 0
    print(f"threshold {threshold}\n| corpus | texts | recall | precision | pairs not planted | by kind of change |")
    print("| --- | --- | --- | --- | --- | --- |")
    for path in parser.parse_args().files:
        print(f"| {path.name} | {measure(path, threshold)} |", flush=True)


def read(path: Path) -> list[str]:
    """Return the different texts that are long enough to have near duplicates."""
    if path.name.endswith(".jsonl.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file]
    else:
        texts = [max(line.split("\t"), key=len) for line in path.read_text("utf-8").splitlines()]
    different = {canonical_text(text): text for text in texts if len(text.split()) > 2}
    return [text for canonical, text in sorted(different.items()) if len(canonical) >= _SHORTEST]


def measure(path: Path, threshold: float) -> str:
    """Return the cells of a row of the table."""
    rng = random.Random(13)
    originals = read(path)
    originals = rng.sample(originals, min(_TEXTS, len(originals)))
    words = [word for text in originals for word in text.split()]
    changes: dict[str, Callable[[list[str]], None]] = {
        "case and stop": lambda text: text.__setitem__(slice(None), [*map(str.upper, text), "."]),
        "retweet": lambda text: text.insert(0, "RT @user:"),
        "word changed": lambda text: text.__setitem__(rng.randrange(len(text)), rng.choice(words)),
        "word dropped": lambda text: text.pop(rng.randrange(len(text))) and None,
        "words swapped": lambda text: text.insert(0, text.pop()),
    }
    texts, origin, kinds = list(originals), list(range(len(originals))), [""] * len(originals)
    for number in range(len(originals) // 2):
        kind = list(changes)[number % len(changes)]
        copy = originals[number].split()
        changes[kind](copy)
        if len(canonical_text(" ".join(copy))) >= _SHORTEST:
            texts.append(" ".join(copy))
            origin.append(number)
            kinds.append(kind)
    group = grouped(texts, threshold)
    found: dict[str, list[bool]] = defaultdict(list)
    for number in range(len(originals), len(texts)):
        found[kinds[number]].append(group[number] == group[origin[number]])
    members: dict[int, list[int]] = defaultdict(list)
    for number, first in enumerate(group):
        members[first].append(number)
    pairs = [pair for numbers in members.values() for pair in itertools.combinations(numbers, 2)]
    others = [pair for pair in pairs if origin[pair[0]] != origin[pair[1]]]
    right = sum(jaccard(texts[one], texts[other]) >= threshold - 2 * _STANDARD_ERROR for one, other in others)
    recall = np.mean([hit for hits in found.values() for hit in hits])
    precision = 1 - (len(others) - right) / len(pairs)
    by_kind = ", ".join(f"{kind} {np.mean(hits):.2f}" for kind, hits in found.items())
    return f"{len(originals):,} | {recall:.3f} | {precision:.3f} | {len(others)}, {right} of them right | {by_kind}"


def grouped(texts: list[str], threshold: float) -> list[int]:
    """Return the first text of each text's group, as preprocess groups the texts."""
    canonical = [canonical_text(text) for text in texts]
    keys = sorted(set(canonical))
    with tempfile.TemporaryDirectory() as folder, Signatures(Path(folder)) as signatures:
        for key in keys:
            signatures.add(key)
        signatures.flush()
        group = near_duplicates(signatures, np.arange(len(keys), dtype=np.int32), threshold)
    index = dict(zip(keys, group.tolist(), strict=True))
    return [index[key] for key in canonical]


def jaccard(one: str, other: str) -> float:
    """Return the exact Jaccard index of the shingles of two texts."""
    first, second = (
        {canonical[at : at + _SHINGLE] for at in range(len(canonical) - _SHINGLE + 1)}
        for canonical in (canonical_text(one), canonical_text(other))
    )
    return len(first & second) / len(first | second)


if __name__ == "__main__":
    main()
