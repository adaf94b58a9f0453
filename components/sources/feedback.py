"""Texts that a served model was corrected or confirmed on: ``feedback://MODEL?days=N``.

Clients send the correct label of a text to ``/v1/feedback``. The texts are in the log of the predictions, so only those
of requests that the server logged (``textgate serve --log-predictions``) can be read.
"""

import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts import InputError, Source
from textgate.components.contracts.model_name import MODEL_NAME
from textgate.components.sources.cache import changed, fetch_verified, remove_unused
from textgate.components.sources.digest import digest
from textgate.components.step import WARNING_PREFIX
from textgate.components.storage import DEFAULT_BUCKET, ObjectSummary, Store
from textgate.components.storage.feedback_log import SCHEMAS, iterate_feedback_log, iterate_objects, log_objects

_SCHEMA = pa.schema([(name, pa.string()) for name in ("text", "label", "predicted", "corrected", "version", "time")])
_MAX_NEWER_SECONDS = 1_000
"""Number of seconds with newer feedback that are looked at, to find the feedback that a version covers."""
_LOG_TEXTS = "textgate serve --log-predictions 100 logs the texts of all requests"


def with_bucket(source: Source, bucket: str) -> Source:
    """Return the source with the bucket in its URI, if it is feedback and its URI names none."""
    parts = urlsplit(source.uri)
    if parts.scheme != "feedback" or "bucket" in parse_qs(parts.query):
        return source
    query = "&".join(filter(None, [parts.query, f"bucket={bucket}"]))
    return source.model_copy(update={"uri": f"feedback://{parts.netloc}{parts.path}?{query}"})


class _Log(NamedTuple):
    store: Store
    model: str
    since: datetime | None


def fetch(uri: str, downloads: Path, version: str | None = None) -> Path:
    """Join the feedback on a model with the logged texts; feedback that came after ``version`` is left out.

    Of several labels of a text the last one counts. Feedback on a text that was not logged is left out with a warning.

    Returns:
        Parquet file with the columns ``text``, ``label`` (the correct one), ``predicted``, ``corrected`` (``yes`` if
        these two differ, else ``no``), ``version`` of the model, and ``time`` of the feedback (ISO 8601, UTC), by which
        the rows are sorted.

    Raises:
        InputError: There is no feedback, or none on a text that was logged; or see ``version``.
        ConflictError: Feedback that ``version`` covers has been removed.
    """
    log = _parse(uri)
    labels = _read_labels(log, uri, version)
    if not labels:
        raise InputError(_no_feedback(uri))
    texts: dict[tuple[str, int], dict[str, Any]] = {}
    for table in iterate_feedback_log(log.store, "predictions", log.model, log.since):
        keys = zip(table["request_id"].to_pylist(), table["index"].to_pylist(), strict=True)
        indices = [index for index, key in enumerate(keys) if key in labels]
        texts |= {(row["request_id"], row["index"]): row for row in table.take(indices).to_pylist()}
    if not texts:
        raise InputError(f"the text of none of the {len(labels):,} labels at {uri} was logged: {_LOG_TEXTS}")
    missing = len(labels) - len(texts)
    if missing:
        print(
            f"{WARNING_PREFIX}{missing:,} of the {len(labels):,} labels at {uri} are left out, because their texts "
            f"were not logged: {_LOG_TEXTS}",
            flush=True,
        )
    rows = [
        {
            "text": texts[key]["text"],
            "label": row["label"],
            "predicted": texts[key]["label"],
            "corrected": "no" if row["label"] == texts[key]["label"] else "yes",
            "version": texts[key]["version"],
            "time": row["time"].isoformat(),
        }
        for key, row in sorted(labels.items(), key=lambda item: (item[1]["time"], *item[0]))
        if key in texts
    ]
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), content)
    folder, name = downloads / "feedback" / digest(uri, log.store.bucket), sha256(content.getvalue()).hexdigest()
    path = fetch_verified(folder / name, f"{log.model}.parquet", uri, lambda path: path.write_bytes(content.getvalue()))
    remove_unused(folder, name)
    return path


def _read_labels(log: _Log, uri: str, version: str | None) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the last label of each text, with its time, by request and index."""
    items = _list_feedback(log, uri)
    covered = items if version is None else _covered(items, version)
    if covered is None:
        raise changed(uri)
    given = pa.concat_tables(
        [SCHEMAS["feedback"].empty_table(), *iterate_objects(log.store, "feedback", covered, log.since)]
    ).sort_by([(name, "ascending") for name in ("time", "request_id", "index")])
    if not {item.key for item in covered} <= {item.key for item in _list_feedback(log, uri)}:
        raise changed(uri)
    columns = ["request_id", "index", "label", "time"]
    return {(row["request_id"], row["index"]): row for row in given.select(columns).to_pylist()}


def _covered(items: Sequence[ObjectSummary], version: str) -> list[ObjectSummary] | None:
    """Return the objects that a version covers; None if one of them is gone.

    Servers write feedback all the time, and never change what they have written: so these are all but the newest.
    """
    for time_ in sorted({item.modified for item in items}, reverse=True)[:_MAX_NEWER_SECONDS]:
        covered = [item for item in items if item.modified <= time_]
        if _version(covered) == version:
            return covered
    return None


def version(uri: str) -> str:
    """Return the digest of the ETags of the feedback.

    Predictions do not count, because they are logged all the time. A text that another server logs after its feedback
    is therefore read with the next feedback.

    Raises:
        InputError: The URI has another form, there is no feedback, or the store cannot be reached.
    """
    return _version(_list_feedback(_parse(uri), uri))


def _version(items: Sequence[ObjectSummary]) -> str:
    return digest(*(item.etag for item in items))


def _list_feedback(log: _Log, uri: str) -> list[ObjectSummary]:
    items = list(log_objects(log.store, "feedback", log.model, log.since))
    if not items:
        raise InputError(_no_feedback(uri))
    return items


def _no_feedback(uri: str) -> str:
    return f"there is no feedback at {uri}: clients of the server send correct labels to POST /v1/feedback"


def _parse(uri: str) -> _Log:
    parts = urlsplit(uri)
    query = parse_qs(parts.query, keep_blank_values=True)
    days = query.get("days", ["0"])[-1]
    if (
        not MODEL_NAME.fullmatch(parts.netloc)
        or parts.path
        or query.keys() - {"days", "bucket"}
        or ("days" in query and not re.fullmatch("[1-9][0-9]{0,4}", days))
    ):
        raise InputError(
            f"{uri} is not of the form feedback://MODEL, feedback://MODEL?days=N for the last N days, or with "
            "bucket=NAME for another bucket of the store"
        )
    bucket = query.get("bucket", [DEFAULT_BUCKET])[-1]
    today = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    return _Log(Store.from_environment(bucket), parts.netloc, today - timedelta(int(days)) if int(days) else None)
