"""Texts that a served model was corrected or confirmed on: ``feedback://MODEL?days=N``.

Clients send the correct label of a text to ``/v1/feedback``. The texts are in the log of the predictions, so only those
of requests that the server logged (``textgate serve --log-predictions``) can be read.
"""

import os
import re
import tempfile
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from textgate.components.contracts import InputError
from textgate.components.contracts.model_name import MODEL_NAME
from textgate.components.sources.digest import digest
from textgate.components.step import WARNING_PREFIX
from textgate.components.storage import DEFAULT_BUCKET, Store
from textgate.components.storage.feedback_log import iterate_feedback_log, log_objects, read_feedback_log

_SCHEMA = pa.schema([(name, pa.string()) for name in ("text", "label", "predicted", "corrected", "version", "time")])
_LOG_TEXTS = "textgate serve --log-predictions 100 logs the texts of all requests"


class _Log(NamedTuple):
    store: Store
    model: str
    since: datetime | None


def fetch(uri: str, downloads: Path) -> Path:
    """Join the feedback on a model with the logged texts.

    Of several labels of a text the last one counts. Feedback on a text that was not logged is left out with a warning.

    Returns:
        Parquet file with the columns ``text``, ``label`` (the correct one), ``predicted``, ``corrected`` (``yes`` if
        these two differ, else ``no``), ``version`` of the model, and ``time`` of the feedback (ISO 8601, UTC), by which
        the rows are sorted.

    Raises:
        InputError: There is no feedback, or none on a text that was logged; or see ``version``.
    """
    log = _parse(uri)
    columns = ["request_id", "index", "label", "time"]
    given = read_feedback_log(log.store, "feedback", log.model, log.since).select(columns).to_pylist()
    labels = {(row["request_id"], row["index"]): row for row in given}
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
    folder = downloads / "feedback" / digest(uri, log.store.bucket)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), file)
    return Path(file.name).rename(folder / f"{log.model}.parquet")


def version(uri: str) -> str:
    """Return the digest of the ETags of the feedback.

    Predictions do not count, because they are logged all the time. A text that another server logs after its feedback
    is therefore read with the next feedback.

    Raises:
        InputError: The URI has another form, there is no feedback, or the store cannot be reached.
    """
    log = _parse(uri)
    etags = [item.etag for item in log_objects(log.store, "feedback", log.model, log.since)]
    if not etags:
        raise InputError(_no_feedback(uri))
    return digest(*etags)


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
    bucket = query.get("bucket", [os.environ.get("TEXTGATE_BUCKET") or DEFAULT_BUCKET])[-1]
    today = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    return _Log(Store.from_environment(bucket), parts.netloc, today - timedelta(int(days)) if int(days) else None)
