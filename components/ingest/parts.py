"""A source of several files read in parts, each by itself, and the parts put together again.

``join_parts`` of every ``ingest_part`` writes what ``ingest_source`` writes: the same rows in the same order.
"""

from collections.abc import Sequence
from pathlib import Path

from textgate.components.contracts import Dataset, InputError, Source, dataset_writer
from textgate.components.contracts.dataset import DatasetManifest
from textgate.components.ingest.files import FORMATS
from textgate.components.ingest.ingest import Filters, finish, require_few_labels, splits, take_all
from textgate.components.ingest.readers import class_folders, data_files, laid_out, read_files, without_documents
from textgate.components.sources import fetch, list_s3_files


def ingest_part(source: Source, part: int, parts: int, output: Path, downloads: Path) -> DatasetManifest:
    """Write the rows of one part, from 0 to ``parts`` - 1: its share of the files, a run of them in order of names.

    Whether the rows of all parts make a task is for ``join_parts`` to say.

    Raises:
        InputError: the source is no folder of files, or one of them cannot be read; nothing is written then.
    """
    filters = Filters.of(source)
    files = _files(source, downloads)
    source = laid_out(source, list(map(Path, files)))
    chosen = files[part * len(files) // parts : (part + 1) * len(files) // parts]
    with dataset_writer(output, splits(source), source.metadata) as writer:
        records = read_files([fetch(file, downloads) for file in chosen], source, filters.wanted(source))
        _, filtered = take_all(records, source, filters, writer)
        labels = sorted({label for counts in writer.counts.values() for label in counts})
        # The parts are joined in order of this.
        return writer.finish(f"{source.uri} part {part:05d}", labels, rows_filtered=filtered)


def join_parts(source: Source, parts: Sequence[Path], output: Path, downloads: Path) -> DatasetManifest:
    """Write the parts of a source as one dataset, whatever order they are given in.

    Raises:
        InputError: see ``ingest_source``.
    """
    source = laid_out(source, list(map(Path, _files(source, downloads)))) if source.csv else source
    found = sorted(map(Dataset.open, parts), key=lambda part: part.manifest.source)
    rows = filtered = 0
    with dataset_writer(output, splits(source), source.metadata) as writer:
        for part in found:
            rows += part.manifest.rows_in + part.manifest.rows_filtered
            filtered += part.manifest.rows_filtered
            for split in splits(source):
                for row in part.rows(split):
                    writer.add(split, row)
                require_few_labels(source, writer, split)
            for rejected in part.rejected():
                writer.reject(rejected)
        return finish(source, writer, rows, filtered)


def _files(source: Source, downloads: Path) -> list[str]:
    """URIs or paths of the source's files, in order of their names; those on S3 are not fetched yet."""
    if source.uri.startswith("s3://") and source.uri.endswith("/"):
        names = [Path(uri.removeprefix(source.uri)) for uri in list_s3_files(source.uri)]
        shown = [name for name in names if not name.name.startswith((".", "_"))]
        files = [f"{source.uri}{name}" for name in without_documents(shown)]
    else:
        path = fetch(source.uri, downloads)
        if path.is_dir() and class_folders(path):
            raise InputError(f"{path} holds one folder a class, which is not read in parts: leave out resources.shards")
        files = [str(file) for file in data_files(path)]
    if not files:
        raise InputError(f"the folder {source.uri} holds no file: {FORMATS} can be read")
    return files
