"""Counts in the manifest of a dataset on its labels: corrections, and contradictions to the given test split."""

from textgate.components.contracts.frozen_model import FrozenModel


class CorrectionCounts(FrozenModel):
    """Effect of ``source.corrections``."""

    corrected: int
    """Rows whose label was corrected."""
    dropped: int
    """Rows that were dropped; they are among the rejected rows."""
    unmatched: int
    """Corrections that matched no row."""
    first_unmatched: int | None = None
    """Line of the first of these in the file."""

    @property
    def message(self) -> str:
        """Sentence about the effect."""
        matched = f"{self.corrected:,} labels corrected, {self.dropped:,} rows dropped by source.corrections"
        if not self.unmatched:
            return matched
        return (
            f"{matched}; {self.unmatched:,} of its lines matched no row with that text and label, the first is line "
            f"{self.first_unmatched}"
        )


class CopiesOfTest(FrozenModel):
    """Rows that were rejected because the given test split has a copy of their text."""

    rows: int
    """Number of rows whose test text was kept."""
    contradictions: int
    """Those whose label is not that of the test text."""

    @property
    def message(self) -> str:
        """Sentence about the contradictions."""
        return (
            f"{self.contradictions:,} of the {self.rows:,} rows that are copies of test texts have another label than "
            "the test text, so one of the two labels is wrong"
        )
