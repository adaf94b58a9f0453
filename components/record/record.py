"""Record step: collect the decisions and the promotion of a run into its record."""

from datetime import UTC, datetime
from typing import Any

from textgate.components.contracts import RunRecord, redact
from textgate.components.storage import Store
from textgate.components.storage.runs import load_configuration, load_decisions, load_promotion, save_record


def record_run(
    store: Store, run: str, recipe: dict[str, Any], source_version: str, state: str, error: str | None
) -> RunRecord:
    """Write ``runs/<run>/record.json`` and return it.

    The recipe and the version of the source are those of the step ``configure``, if it has run.

    Args:
        store: Store of the run.
        run: Name of the run.
        recipe: Recipe as JSON values.
        source_version: Version of the source at the start of the run.
        state: Final state of the pipeline, as KFP names it.
        error: Error message of the pipeline, if it failed.
    """
    configured = load_configuration(store, run)
    result = RunRecord(
        run=run,
        recipe=configured.recipe if configured else recipe,
        source_version=configured.source_version if configured else source_version,
        changes=configured.changes if configured else [],
        state=state,
        error=redact(error) if error else None,
        decisions=load_decisions(store, run),
        promotion=load_promotion(store, run),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    save_record(store, result)
    return result
