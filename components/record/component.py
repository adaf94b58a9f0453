"""KFP door of record, the exit handler. Never cached."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def record(recipe: str, run: str, source_version: str, bucket: str, status: dsl.PipelineTaskFinalStatus) -> None:
    """Write what the run came to into the store, whatever happened.

    Args:
        recipe: The whole recipe as JSON.
        run: Name of the run.
        source_version: What stood behind the source's URI when the run was started.
        bucket: Bucket of the store.
        status: How the pipeline ended, filled in by KFP.
    """
    from textgate.components.step import step_work

    with step_work():
        import json

        from textgate.components.record.record import record_run
        from textgate.components.storage import Store

        store = Store.from_environment(bucket)
        record_run(store, run, json.loads(recipe), source_version, status.state, status.error_message)
