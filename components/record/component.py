"""KFP component of the record step, the exit handler of a pipeline. It is never cached."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def record(recipe: str, run: str, source_version: str, bucket: str, status: dsl.PipelineTaskFinalStatus) -> None:
    """Write the record of a run to the store, and log it to the tracking services, whether it succeeded or failed.

    Args:
        recipe: Recipe as JSON.
        run: Name of the run.
        source_version: Version of the source at the start of the run.
        bucket: Bucket of the store.
        status: Final status of the pipeline, filled in by KFP.
    """
    from textgate.components.step import step_work

    with step_work():
        import json

        from textgate.components.record.record import record_run
        from textgate.components.storage import Store
        from textgate.components.tracking.finished_run import track_finished_run

        store = Store.from_environment(bucket)
        result = record_run(store, run, json.loads(recipe), source_version, status.state, status.error_message)
        track_finished_run(result, store)
