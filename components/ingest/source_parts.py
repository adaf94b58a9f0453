"""Parallel ingest of a source of several files: each part is read by itself, then the parts are concatenated.

``join_parts`` over the outputs of ``ingest_part`` writes the same rows in the same order as ``ingest_source``.
"""

import itertools
import operator
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts import Dataset, InputError, Source, dataset_writer
from textgate.components.contracts.dataset import (
    DatasetManifest,
)
from textgate.components.contracts.source_file import SourceFile
from textgate.components.ingest.corrections import CorrectingWriter
from textgate.components.ingest.file_formats import FORMATS
from textgate.components.ingest.ingest import (
    finish_dataset,
    read_corrections,
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
from textgate.components.ingest.origins import (
    OriginWriter,
    RowAccount,
    as_one_source,
    origin_of,
    require_rows_of_each,
    with_common_labels,
)
from textgate.components.ingest.source_filters import SourceFilters
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
    filters = {name: SourceFilters.parse(one) for name, one in source.sources.items()}
    sources, files = _list_files(source, downloads)
    own_files = files[part * len(files) // parts : (part + 1) * len(files) // parts]
    filtered, read = 0, list[SourceFile]()
    with dataset_writer(output, split_names(source), source.metadata_columns) as writer:
        for name, group in itertools.groupby(own_files, key=operator.attrgetter("origin")):
            one = sources[name]
            paths = [fetch(file.uri, downloads) for file in group]
            target = OriginWriter(writer, name, source, RowAccount()) if source.also else writer
            rows = read_files(paths, one, filters[name].columns(one), read)
            filtered += write_rows(rows, one, filters[name], target)[1]
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
    sources = with_common_labels(source.sources)
    if any(one.csv for one in sources.values()):
        sources, _ = _list_files(source, downloads)
    datasets = sorted(map(Dataset.open, parts), key=lambda part: part.manifest.source)
    corrections = read_corrections(source, downloads)
    row_count = filtered = 0
    accounts: defaultdict[str, RowAccount] = defaultdict(RowAccount)
    with dataset_writer(output, split_names(source), source.metadata_columns) as writer:
        target = CorrectingWriter(writer, corrections) if corrections else writer
        for part in datasets:
            row_count += part.manifest.rows_in + part.manifest.rows_filtered
            filtered += part.manifest.rows_filtered
            for split in split_names(source):
                for row in part.rows(split):
                    target.add(split, row)
                    if source.also:
                        accounts[origin_of(row)].accepted[split] += 1
                require_few_labels(source, writer, split)
            for rejected in part.rejected():
                writer.reject(rejected)
                if source.also:
                    accounts[origin_of(rejected)].rejected[rejected.reason] += 1
        if source.also:
            require_rows_of_each(sources, accounts)
        files = [file for part in datasets for file in part.manifest.files]
        return finish_dataset(as_one_source(source, sources), writer, row_count, filtered, files, corrections)


class _File(NamedTuple):
    origin: str
    """Name of the source."""
    uri: str
    """URI or path."""


def _list_files(source: Source, downloads: Path) -> tuple[dict[str, Source], list[_File]]:
    """Return the sources with their CSV layouts and labels, and the files of one source after the other."""
    uris = {name: _list_uris(one, downloads) for name, one in source.sources.items()}
    sources = {name: apply_csv_layout(one, list(map(Path, uris[name]))) for name, one in source.sources.items()}
    return with_common_labels(sources), [_File(name, uri) for name, files in uris.items() for uri in files]


def _list_uris(source: Source, downloads: Path) -> list[str]:
    """Return URIs or paths of the files of one source, sorted by name; files on S3 are not downloaded."""
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
