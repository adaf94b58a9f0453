"""KFP door of record, the exit handler. Never cached."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def record(recipe: str, run: str, bucket: str, status: dsl.PipelineTaskFinalStatus) -> None:
    """Write what the run came to into the store, whatever happened.

    Args:
        recipe: The whole recipe as JSON.
        run: Name of the run.
        bucket: Bucket of the store.
        status: How the pipeline ended, filled in by KFP.
    """
    from textgate.components.step import step_work

    with step_work():
        import json

        from textgate.components.record.record import record_run
        from textgate.components.storage import Store

        record_run(Store.from_environment(bucket), run, json.loads(recipe), status.state, status.error_message)
