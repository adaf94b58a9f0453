"""Perturbations of texts that should not change a prediction, because a reader understands the text as before.

Invariance tests of Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with CheckList (ACL 2020).
"""

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

_WORDS_PER_CHANGE = 5
"""One word in five is changed."""
_WORD = re.compile(r"[^\W\d_]+")
_FINAL_PUNCTUATION = re.compile(r"[.!?,;:\u2026\u3002\uff01\uff1f\s]+\Z")
_INNER_PUNCTUATION = re.compile(r"[,;:](?=\s)|\s[-\u2013\u2014]+(?=\s)")
_KEY_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SYNONYMS = Path(__file__).with_name("synonyms.txt")

# Confusable letters of Unicode Technical Standard 39, Latin and Cyrillic, that look the same in any font.
_LATIN = "aceijopsxyABCEHIJKMOPSTX"
_CYRILLIC = (
    "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443"
    "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425"
)
_HOMOGLYPHS = dict(zip(_LATIN + _CYRILLIC, _CYRILLIC + _LATIN, strict=True))


def perturb(name: str, text: str, seed: int) -> str:
    """Return ``text`` with a perturbation applied, or unchanged if the perturbation does not apply.

    The result depends on the arguments only, not on other texts or the machine.

    Args:
        name: Key of ``PERTURBATIONS``.
        text: Text to perturb.
        seed: Seed of the random choices.
    """
    digest = hashlib.sha256(f"{seed} {name} {text}".encode("utf-8", "surrogatepass")).digest()
    return PERTURBATIONS[name](text, Random(int.from_bytes(digest)))  # noqa: S311 (nothing to guard)


def _typos(text: str, random: Random) -> str:
    """Make a typing error in one word in five: drop or double a letter, swap two, or hit a neighbouring key.

    Pruthi, Dhingra and Lipton, Combating Adversarial Misspellings with Robust Word Recognition (ACL 2019), section 3.
    The first and the last letter of a word are kept, because readers rely on them.
    """
    return _in_some_words(text, random, lambda word: len(word) >= 4, _misspell)


def _misspell(word: str, random: Random) -> str:
    index = random.randrange(1, len(word) - 2)
    before, letter, after = word[:index], word[index], word[index + 1 :]
    typos = [before + after, before + 2 * letter + after, before + after[0] + letter + after[1:]]
    if neighbours := _neighbouring_keys().get(letter.lower()):
        neighbour = random.choice(neighbours)
        typos.append(before + (neighbour.upper() if letter.isupper() else neighbour) + after)
    return random.choice([typo for typo in typos if typo != word])


@cache
def _neighbouring_keys() -> dict[str, str]:
    """Return the letters around each letter on a QWERTY keyboard; each row is half a key right of the one above."""
    keys = {(row, column): key for row, letters in enumerate(_KEY_ROWS) for column, key in enumerate(letters)}
    around = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    return {
        key: "".join(keys.get((row + down, column + right), "") for down, right in around)
        for (row, column), key in keys.items()
    }


def _case(text: str, random: Random) -> str:
    """Write the text in lower case, in upper case or in title case."""
    return _choose_other(
        [text.lower(), text.upper(), re.sub(r"\S+", lambda word: word[0].capitalize(), text)], text, random
    )


def _punctuation(text: str, random: Random) -> str:
    """Change the final punctuation, as CheckList's ``Perturb.punctuation`` does, or remove commas and dashes."""
    bare = _FINAL_PUNCTUATION.sub("", text)
    if not bare:
        return text
    return _choose_other([bare, f"{bare}.", f"{bare}!!!", _INNER_PUNCTUATION.sub("", text)], text, random)


def _homoglyphs(text: str, random: Random) -> str:
    """Replace a letter by another character that looks the same, in one word in five.

    Boucher et al., Bad Characters: Imperceptible NLP Attacks (IEEE S&P 2022), section IV.
    """
    return _in_some_words(text, random, lambda word: not _HOMOGLYPHS.keys().isdisjoint(word), _replace_letter)


def _replace_letter(word: str, random: Random) -> str:
    index = random.choice([index for index, letter in enumerate(word) if letter in _HOMOGLYPHS])
    return word[:index] + _HOMOGLYPHS[word[index]] + word[index + 1 :]


def _synonyms(text: str, random: Random) -> str:
    """Replace English words by synonyms; ``random`` is not used.

    Ren et al., Generating Natural Language Adversarial Examples through Probability Weighted Word Saliency (ACL 2019),
    section 3.2, also uses WordNet. Here only words with one dominant sense are replaced, so no sense has to be guessed.
    """
    return _WORD.sub(lambda word: _match_case(_synonym_of().get(word[0].lower(), word[0]), word[0]), text)


def _match_case(synonym: str, word: str) -> str:
    """Return ``synonym`` in the case of ``word``."""
    if synonym == word or word.islower():
        return synonym
    return synonym.upper() if word.isupper() else synonym.capitalize()


@cache
def _synonym_of() -> dict[str, str]:
    lines = _SYNONYMS.read_text("utf-8").splitlines()
    return dict(line.split() for line in lines if not line.startswith("#"))


def _in_some_words(
    text: str, random: Random, applies: Callable[[str], bool], change: Callable[[str, Random], str]
) -> str:
    """Apply ``change`` to one in five of the words for which ``applies`` is true, rounded up."""
    words = [word for word in _WORD.finditer(text) if applies(word[0])]
    sample = random.sample(words, -(-len(words) // _WORDS_PER_CHANGE))
    changed = {word.start(): change(word[0], random) for word in sample}
    return _WORD.sub(lambda word: changed.get(word.start(), word[0]), text)


def _choose_other(variants: list[str], text: str, random: Random) -> str:
    """Return one of the variants that differ from ``text``, or ``text`` if none does."""
    others = [variant for variant in variants if variant != text]
    return random.choice(others) if others else text


PERTURBATIONS: dict[str, Callable[[str, Random], str]] = {
    "typos": _typos,
    "case": _case,
    "punctuation": _punctuation,
    "homoglyphs": _homoglyphs,
    "synonyms": _synonyms,
}
"""Perturbation by its name in ``evaluate.robustness``."""
