"""Parallel ingest of a source of several files: each part is read by itself, then the parts are concatenated.

``join_parts`` over the outputs of ``ingest_part`` writes the same rows in the same order as ``ingest_source``.
"""

from collections.abc import Sequence
from pathlib import Path

from textgate.components.contracts import Dataset, InputError, Source, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest, SourceFile
from textgate.components.ingest.file_formats import FORMATS
from textgate.components.ingest.ingest import (
    SourceFilters,
    finish_dataset,
    require_few_labels,
    split_names,
    write_rows,
)
from textgate.components.ingest.local_source import (
    apply_csv_layout,
    find_class_folders,
    list_data_files,
    read_files,
    skip_documents,
)
from textgate.components.sources import fetch, list_s3_files


def ingest_part(source: Source, part: int, parts: int, output: Path, downloads: Path) -> DatasetManifest:
    """Write the rows of one part: a contiguous share of the files, sorted by name.

    The part is not checked for having two classes; ``join_parts`` checks all rows.

    Args:
        source: Source settings.
        part: Index of the part, from 0.
        parts: Number of parts.
        output: Folder of the dataset.
        downloads: Folder that keeps what is downloaded.

    Raises:
        InputError: The source is not a folder of files, or a file cannot be read. Nothing is written then.
    """
    filters = SourceFilters.parse(source)
    files = _list_files(source, downloads)
    source = apply_csv_layout(source, list(map(Path, files)))
    own_files = files[part * len(files) // parts : (part + 1) * len(files) // parts]
    with dataset_writer(output, split_names(source), source.metadata) as writer:
        read: list[SourceFile] = []
        rows = read_files([fetch(file, downloads) for file in own_files], source, filters.columns(source), read)
        _, filtered = write_rows(rows, source, filters, writer)
        labels = sorted({label for counts in writer.counts.values() for label in counts})
        # join_parts sorts the parts by this name.
        return writer.finish(f"{source.uri} part {part:05d}", labels, rows_filtered=filtered, files=read)


def join_parts(source: Source, parts: Sequence[Path], output: Path, downloads: Path) -> DatasetManifest:
    """Concatenate the parts of a source to one dataset.

    Args:
        source: Source settings.
        parts: Folders written by ``ingest_part``, in any order.
        output: Folder of the dataset.
        downloads: Folder that keeps what is downloaded.

    Raises:
        InputError: See ``ingest_source``.
    """
    source = apply_csv_layout(source, list(map(Path, _list_files(source, downloads)))) if source.csv else source
    datasets = sorted(map(Dataset.open, parts), key=lambda part: part.manifest.source)
    row_count = filtered = 0
    with dataset_writer(output, split_names(source), source.metadata) as writer:
        for part in datasets:
            row_count += part.manifest.rows_in + part.manifest.rows_filtered
            filtered += part.manifest.rows_filtered
            for split in split_names(source):
                for row in part.rows(split):
                    writer.add(split, row)
                require_few_labels(source, writer, split)
            for rejected in part.rejected():
                writer.reject(rejected)
        files = [file for part in datasets for file in part.manifest.files]
        return finish_dataset(source, writer, row_count, filtered, files)


def _list_files(source: Source, downloads: Path) -> list[str]:
    """Return URIs or paths of the source's files, sorted by name; files on S3 are not downloaded."""
    if source.uri.startswith("s3://") and source.uri.endswith("/"):
        names = [Path(uri.removeprefix(source.uri)) for uri in list_s3_files(source.uri)]
        visible = [name for name in names if not name.name.startswith((".", "_"))]
        files = [f"{source.uri}{name}" for name in skip_documents(visible)]
    else:
        path = fetch(source.uri, downloads)
        if path.is_dir() and find_class_folders(path):
            raise InputError(f"{path} holds one folder a class, which is not read in parts: leave out resources.shards")
        files = [str(file) for file in list_data_files(path)]
    if not files:
        raise InputError(f"the folder {source.uri} holds no file: {FORMATS} can be read")
    return files
