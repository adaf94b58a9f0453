"""KFP component of the promotion step. It is never cached, because it changes the champion channel."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def promote(
    exported: dsl.Input[dsl.Model],
    decision: dsl.Input[dsl.Artifact],
    model: str,
    run: str,
    bucket: str,
) -> None:
    """Publish the exported bundle in the registry and make it champion.

    Args:
        exported: Bundle that gate 2 judged.
        decision: Decision of gate 2.
        model: Name of the model in the registry.
        run: Name of the run.
        bucket: Bucket of the store.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[exported, decision]):
        from pathlib import Path

        from textgate.components.contracts import GateDecision
        from textgate.components.promote.promote import promote_bundle
        from textgate.components.storage import Registry, Store
        from textgate.components.storage.runs import save_promotion

        store = Store.from_environment(bucket)
        result = GateDecision.parse(Path(decision.path).read_bytes(), "the decision of gate 2")
        save_promotion(store, run, promote_bundle(Registry(store), model, Path(exported.path), result, run))
