"""Parallel ingest of a source of several files: each part is read by itself, then the parts are concatenated.

``join_parts`` over the outputs of ``ingest_part`` writes the same rows in the same order as ``ingest_source``.
"""

import itertools
import operator
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from textgate.components.contracts import ConflictError, Dataset, InputError, Source, dataset_writer
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
from textgate.components.sources import fetch, joined, list_s3_files, pinned


def ingest_part(
    source: Source, part: int, parts: int, output: Path, downloads: Path, version: str = ""
) -> DatasetManifest:
    """Write the rows of one part: a contiguous share of the files, sorted by name.

    The part is not checked for having two classes; ``join_parts`` checks all rows.

    Args:
        source: Source settings.
        part: Index of the part, from 0.
        parts: Number of parts.
        output: Folder of the dataset.
        downloads: Folder that keeps what is downloaded.
        version: See ``ingest_source``.

    Raises:
        InputError: The source is not a folder of files, or a file cannot be read. Nothing is written then.
        ConflictError: See ``ingest_source``.
    """
    filters = {name: SourceFilters.parse(one) for name, one in source.sources.items()}
    filtered, read = 0, list[SourceFile]()
    with (
        dataset_writer(output, split_names(source), source.metadata_columns) as writer,
        pinned(source, version) as versions,
    ):
        sources, files = _list_files(source, downloads, versions)
        own_files = files[part * len(files) // parts : (part + 1) * len(files) // parts]
        for name, group in itertools.groupby(own_files, key=operator.attrgetter("origin")):
            one = sources[name]
            paths = [fetch(file.uri, downloads, file.version) for file in group]
            target = OriginWriter(writer, name, source, RowAccount()) if source.also else writer
            rows = read_files(paths, one, filters[name].columns(one), read)
            filtered += write_rows(rows, one, filters[name], target)[1]
        labels = sorted({label for counts in writer.counts.values() for label in counts})
        # join_parts sorts the parts by this name.
        return writer.finish(
            f"{source.uri} part {part:05d}",
            labels,
            rows_filtered=filtered,
            files=read,
            source_version=joined(versions),
        )


def join_parts(source: Source, parts: Sequence[Path], output: Path, downloads: Path) -> DatasetManifest:
    """Concatenate the parts of a source to one dataset.

    Args:
        source: Source settings.
        parts: Folders written by ``ingest_part``, in any order.
        output: Folder of the dataset.
        downloads: Folder that keeps what is downloaded.

    Raises:
        InputError: See ``ingest_source``.
        ConflictError: The parts were read from different versions of the source; or see ``ingest_source``.
    """
    sources = with_common_labels(source.sources)
    datasets = sorted(map(Dataset.open, parts), key=lambda part: part.manifest.source)
    version = datasets[0].manifest.source_version
    if any(part.manifest.source_version != version for part in datasets):
        raise ConflictError(f"{source.address} changed while its parts were read: run again")
    row_count = filtered = 0
    accounts: defaultdict[str, RowAccount] = defaultdict(RowAccount)
    with (
        dataset_writer(output, split_names(source), source.metadata_columns) as writer,
        pinned(source, version) as versions,
    ):
        if any(one.csv for one in sources.values()):
            sources, _ = _list_files(source, downloads, versions)
        corrections = read_corrections(source, downloads, versions)
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
        one_source = as_one_source(source, sources)
        return finish_dataset(one_source, writer, row_count, filtered, files, corrections, version)


class _File(NamedTuple):
    origin: str
    """Name of the source."""
    uri: str
    """URI or path."""
    version: str | None
    """Version of an object; None of a file on disk."""


def _list_files(source: Source, downloads: Path, versions: Mapping[str, str]) -> tuple[dict[str, Source], list[_File]]:
    """Return the sources with their CSV layouts and labels, and the files of one source after the other."""
    files = [
        _File(name, *file)
        for name, one in source.sources.items()
        for file in _list_uris(one, downloads, versions[one.uri])
    ]
    sources = {
        name: apply_csv_layout(one, [Path(file.uri) for file in files if file.origin == name])
        for name, one in source.sources.items()
    }
    return with_common_labels(sources), files


def _list_uris(source: Source, downloads: Path, version: str) -> list[tuple[str, str | None]]:
    """Return URI or path and version of the files of one source, sorted by name; objects are not downloaded."""
    files: list[tuple[str, str | None]]
    if source.uri.startswith("s3://") and source.uri.endswith("/"):
        listed = list_s3_files(source.uri, version)
        names = [Path(uri.removeprefix(source.uri)) for uri in listed]
        visible = [name for name in names if not name.name.startswith((".", "_"))]
        uris = [f"{source.uri}{name}" for name in skip_documents(visible)]
        files = [(uri, listed[uri]) for uri in uris]
    else:
        path = fetch(source.uri, downloads, version)
        if path.is_dir() and find_class_folders(path):
            raise InputError(f"{path} holds one folder a class, which is not read in parts: leave out resources.shards")
        files = [(str(file), None) for file in list_data_files(path)]
    if not files:
        raise InputError(f"the folder {source.uri} holds no file: {FORMATS} can be read")
    return files
