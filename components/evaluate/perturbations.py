"""A text written otherwise, that a reader takes for the same: no answer should change.

Invariance tests of Ribeiro et al., Beyond Accuracy: Behavioral Testing of NLP Models with CheckList (ACL 2020).
"""

import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

_ONE_WORD_IN = 5
_WORD = re.compile(r"[^\W\d_]+")
_END = re.compile(r"[.!?,;:\u2026\u3002\uff01\uff1f\s]+\Z")
_PAUSE = re.compile(r"[,;:](?=\s)|\s[-\u2013\u2014]+(?=\s)")
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SYNONYMS = Path(__file__).with_name("synonyms.txt")

# Pairs that look alike in any font: confusables of Unicode Technical Standard 39, Latin with Cyrillic.
_LATIN = "aceijopsxyABCEHIJKMOPSTX"
_CYRILLIC = (
    "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443"
    "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425"
)
_LOOK_ALIKE = dict(zip(_LATIN + _CYRILLIC, _CYRILLIC + _LATIN, strict=True))


def perturb(name: str, text: str, seed: int) -> str:
    """The text as the perturbation of that name writes it, or as it is where that changes nothing.

    Depends on its arguments alone, so not on other texts, on their order or on the machine.
    """
    digest = hashlib.sha256(f"{seed} {name} {text}".encode("utf-8", "surrogatepass")).digest()
    return PERTURBATIONS[name](text, Random(int.from_bytes(digest)))  # noqa: S311 (nothing to guard)


def _typos(text: str, random: Random) -> str:
    """A slip inside one word in five: a letter dropped, doubled, swapped with the next or hit beside its key.

    Pruthi, Dhingra and Lipton, Combating Adversarial Misspellings with Robust Word Recognition (ACL 2019), section 3:
    neither the first nor the last letter, since people read over what lies between.
    """
    return _in_some_words(text, random, lambda word: len(word) >= 4, _slip)


def _slip(word: str, random: Random) -> str:
    place = random.randrange(1, len(word) - 2)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    slips = [before + after, before + 2 * letter + after, before + after[0] + letter + after[1:]]
    if neighbours := _neighbours().get(letter.lower()):
        beside = random.choice(neighbours)
        slips.append(before + (beside.upper() if letter.isupper() else beside) + after)
    return random.choice([slip for slip in slips if slip != word])


@cache
def _neighbours() -> dict[str, str]:
    """Letters around each on a QWERTY keyboard, whose lower rows stand half a key to the right."""
    places = {(row, column): key for row, keys in enumerate(_KEYS) for column, key in enumerate(keys)}
    around = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    return {
        key: "".join(places.get((row + down, column + right), "") for down, right in around)
        for (row, column), key in places.items()
    }


def _case(text: str, random: Random) -> str:
    """All small, all capitals, or As In A Title."""
    return _one_of([text.lower(), text.upper(), re.sub(r"\S+", lambda word: word[0].capitalize(), text)], text, random)


def _punctuation(text: str, random: Random) -> str:
    """Another end, as in CheckList's ``Perturb.punctuation``, or none of the commas and dashes between."""
    bare = _END.sub("", text)
    if not bare:
        return text
    return _one_of([bare, f"{bare}.", f"{bare}!!!", _PAUSE.sub("", text)], text, random)


def _homoglyphs(text: str, random: Random) -> str:
    """In one word in five a letter that looks the same and is another character.

    Boucher et al., Bad Characters: Imperceptible NLP Attacks (IEEE S&P 2022), section IV.
    """
    return _in_some_words(text, random, lambda word: not _LOOK_ALIKE.keys().isdisjoint(word), _disguise)


def _disguise(word: str, random: Random) -> str:
    place = random.choice([place for place, letter in enumerate(word) if letter in _LOOK_ALIKE])
    return word[:place] + _LOOK_ALIKE[word[place]] + word[place + 1 :]


def _synonyms(text: str, random: Random) -> str:
    """Another word for each of the English ones that mean one thing mostly; ``random`` has nothing to choose.

    Ren et al., Generating Natural Language Adversarial Examples through Probability Weighted Word Saliency (ACL 2019),
    section 3.2, takes WordNet's too; here only those of which nobody has to guess the sense.
    """
    return _WORD.sub(lambda word: _as_written(_synonym_of().get(word[0].lower(), word[0]), word[0]), text)


def _as_written(other: str, word: str) -> str:
    if other == word or word.islower():
        return other
    return other.upper() if word.isupper() else other.capitalize()


@cache
def _synonym_of() -> dict[str, str]:
    lines = _SYNONYMS.read_text("utf-8").splitlines()
    return dict(line.split() for line in lines if not line.startswith("#"))


def _in_some_words(text: str, random: Random, fits: Callable[[str], bool], write: Callable[[str, Random], str]) -> str:
    words = [word for word in _WORD.finditer(text) if fits(word[0])]
    drawn = random.sample(words, -(-len(words) // _ONE_WORD_IN))
    written = {word.start(): write(word[0], random) for word in drawn}
    return _WORD.sub(lambda word: written.get(word.start(), word[0]), text)


def _one_of(forms: list[str], text: str, random: Random) -> str:
    others = [form for form in forms if form != text]
    return random.choice(others) if others else text


PERTURBATIONS: dict[str, Callable[[str, Random], str]] = {
    "typos": _typos,
    "case": _case,
    "punctuation": _punctuation,
    "homoglyphs": _homoglyphs,
    "synonyms": _synonyms,
}
