"""Format of a source in words."""

from collections import Counter
from pathlib import Path

from textgate.components.ingest.local_source import find_class_folders, list_data_files
from textgate.pipelines.inspection.columns import SourceColumns

_NAMES = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".parquet": "Parquet",
}


def describe_format(found: SourceColumns) -> str:
    """Return the format of a source, such as ``CSV`` or ``folder of 2 JSON Lines files, gzip``."""
    if found.path is None:
        return "data set of the Hugging Face hub"
    if found.path.is_dir() and (folders := find_class_folders(found.path)):
        return f"{len(folders):,} folders of text files, one per class"
    files = list_data_files(found.path)
    header = ", without a header row" if found.source.columns else ""
    if not found.path.is_dir():
        return _file_format(files[0]) + header
    counts = Counter(map(_file_format, files))
    return (
        "folder of " + ", ".join(f"{count:,} {name} file{'s'[: count > 1]}" for name, count in counts.items()) + header
    )


def _file_format(path: Path) -> str:
    is_gzip = path.suffix.lower() == ".gz"
    suffix = (Path(path.stem) if is_gzip else path).suffix.lower()
    return _NAMES.get(suffix, suffix.removeprefix(".")) + (" (gzip)" if is_gzip else "")
