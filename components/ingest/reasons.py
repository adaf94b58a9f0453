"""Why a row is left out by ingest, in the words that stand in ``rejected.parquet``."""

EMPTY_TEXT = "empty text"
MISSING_LABEL = "missing label"
UNKNOWN_LABEL = "unknown label"
UNDECODABLE = "undecodable bytes"
OVER_LONG_LINE = "over-long line"
NOT_A_RECORD = "not a record"
