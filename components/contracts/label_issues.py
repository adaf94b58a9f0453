"""Label issues: training texts whose label looks wrong, the output of the step check_labels.

<folder>/label_issues.json    counts (LabelIssuesManifest)
<folder>/label_issues.csv     one line per text, the most suspect first: columns ``COLUMNS``

The CSV file can be edited in a spreadsheet and fed back as ``source.corrections``. A cell that a spreadsheet would run
as a formula is preceded by an apostrophe (OWASP, CSV Injection), which the reader removes. A key is preceded by
``key-``, because a spreadsheet would turn ``0000123456789012`` and ``1234567890123e45`` into numbers.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts.files import new_folder
from textgate.components.contracts.frozen_model import FrozenModel
from textgate.components.contracts.parse import parse_json
from textgate.components.step import InputError

MANIFEST = "label_issues.json"
TABLE = "label_issues.csv"
LABEL, CORRECTED_LABEL, KEY, TEXT = "label", "corrected_label", "key", "text"
COLUMNS = (KEY, "id", "split", LABEL, "suggested_label", CORRECTED_LABEL, "probability", "score", TEXT)
ENCODING = "utf-8-sig"
"""With a byte order mark, without which Excel reads another encoding."""
_KEY_PREFIX = "key-"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a formula, the full-width forms of ``=+-@`` included."""
_TEXT_CHARACTERS = 2_000
"""Characters of a text in the table; a cell of Excel holds 32,767."""


class LabelIssue(NamedTuple):
    """Training text whose label looks wrong."""

    key: str
    """Key of the raw text; see ``text_keys.text_key``."""
    id: str
    """Origin of the row as ``file:row``."""
    split: str
    """Split of the text."""
    label: str
    """Given label."""
    suggested: str
    """Most probable other label according to a model that was not trained on the text."""
    probability: float
    """Probability of the suggested label."""
    score: float
    """Probability of the given label (self-confidence); the lower, the more suspect."""
    text: str
    """Beginning of the text."""


class CheckedLabel(FrozenModel):
    """Result of the check of one label."""

    checked: int
    """Training texts with this label that were checked."""
    issues: int
    """Those whose label looks wrong."""


class LabelPair(FrozenModel):
    """Texts with one label that look as if they had another."""

    label: str
    suggested: str
    issues: int


class LabelIssuesManifest(FrozenModel):
    """Content of ``label_issues.json``."""

    dataset: str
    """Fingerprint of the dataset."""
    texts: int
    """Training texts of the dataset."""
    labels: dict[str, CheckedLabel]
    """Labels that were checked, in class order."""
    unchecked: dict[str, int]
    """Labels with too few texts to be checked, and their number of texts."""
    pairs: list[LabelPair]
    """Pairs of given and suggested label, the most frequent first."""

    @property
    def checked(self) -> int:
        """Number of texts that were checked."""
        return sum(label.checked for label in self.labels.values())

    @property
    def issues(self) -> int:
        """Number of texts whose label looks wrong."""
        return sum(label.issues for label in self.labels.values())

    @property
    def share(self) -> float:
        """Share of the checked texts whose label looks wrong."""
        return self.issues / max(self.checked, 1)

    @property
    def message(self) -> str:
        """Clause that says how many labels are doubtful."""
        return f"TF-IDF doubts {self.issues:,} of {self.checked:,} training labels, the most doubtful first"


@dataclass(frozen=True)
class LabelIssues:
    """Folder with the result of a label check, opened for reading."""

    path: Path
    """The folder."""
    manifest: LabelIssuesManifest
    """Its counts."""

    @classmethod
    def open(cls, path: Path) -> "LabelIssues":
        """Open the folder that ``write_label_issues`` wrote.

        Raises:
            InputError: There is none, or its manifest is not valid.
        """
        file = path / MANIFEST
        try:
            return cls(
                path, parse_json(LabelIssuesManifest, file.read_bytes(), str(file), "the result of a label check")
            )
        except OSError as error:
            raise InputError(f"{path} holds no label check: {MANIFEST} cannot be read ({error})") from error

    def rows(self) -> Iterator[LabelIssue]:
        """Yield the texts, the most suspect first."""
        for _, line in read_table(self.path / TABLE, COLUMNS):
            yield LabelIssue(
                key=line[KEY],
                id=line["id"],
                split=line["split"],
                label=line[LABEL],
                suggested=line["suggested_label"],
                probability=float(line["probability"]),
                score=float(line["score"]),
                text=line[TEXT],
            )


def write_label_issues(folder: Path, manifest: LabelIssuesManifest, issues: Sequence[LabelIssue]) -> None:
    """Write the result of a label check to a new folder; the column ``corrected_label`` repeats the given label."""
    with new_folder(folder) as new:
        (new / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        with (new / TABLE).open("w", encoding=ENCODING, newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for issue in issues:
                cells = (_KEY_PREFIX + issue.key, issue.id, issue.split, issue.label, issue.suggested, issue.label)
                numbers = (f"{issue.probability:.4f}", f"{issue.score:.4f}")
                writer.writerow([*map(as_cell, cells), *numbers, as_cell(issue.text[:_TEXT_CHARACTERS])])


def read_table(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a CSV file that ``write_label_issues`` wrote and a spreadsheet may have saved since.

    A spreadsheet may separate the columns by ``;`` or tabs, leave out columns and sort the lines.

    Args:
        path: The file, in UTF-8.
        required: Columns that must exist.

    Yields:
        Number of the line, from 1, and column to value, with a key as in the dataset.

    Raises:
        InputError: The file cannot be read, is not UTF-8, has no such column, or a line has another number of columns.
    """
    try:
        with path.open(encoding=ENCODING, newline="") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            file.seek(0)
            csv.field_size_limit(1 << 27)
            lines = csv.DictReader(file, delimiter=delimiter, strict=True)
            missing = [column for column in required if column not in (lines.fieldnames or ())]
            if missing:
                raise InputError(f"{path} has no column {missing[0]!r}: its first line must name {', '.join(required)}")
            for line in lines:
                if None in line or None in line.values():
                    raise InputError(
                        f"line {lines.line_num} of {path} has another number of columns than the first: quote a text "
                        f"that holds {delimiter!r} or a line break"
                    )
                values = {column: from_cell(value) for column, value in line.items()}
                yield lines.line_num, values | ({KEY: values[KEY].removeprefix(_KEY_PREFIX)} if KEY in values else {})
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as CSV UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path} is not CSV ({error})") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def as_cell(value: str) -> str:
    """Return a value as a cell that no spreadsheet runs as a formula; ``from_cell`` returns the value again."""
    return f"'{value}" if _looks_escaped(value) else value


def from_cell(cell: str) -> str:
    """Return the value of a cell that ``as_cell`` returned, or that a spreadsheet saved without its apostrophe."""
    return cell[1:] if cell.startswith("'") and _looks_escaped(cell) else cell


def _looks_escaped(value: str) -> bool:
    """Whether a value begins a formula, possibly after apostrophes."""
    return value.lstrip("'").startswith(_FORMULA_STARTS)
