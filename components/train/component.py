"""KFP component of the step ``train``."""

from kfp import dsl

from textgate.components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    dataset: dsl.Input[dsl.Dataset],
    name: str,
    training: str,
    code: str,
    bucket: str,
    model: dsl.Output[dsl.Model],
    logs: dsl.Output[dsl.Artifact],
    nodes: str = "",
    base_models: str = "{}",
) -> None:
    """Train one model.

    Args:
        dataset: Preprocessed dataset.
        name: The recipe's name.
        training: The recipe's section ``train`` as JSON.
        code: Version of the step's code. KFP's cache key does not cover imported code, so this argument does; and a
            checkpoint is only resumed by the code that wrote it.
        bucket: Bucket of the store, for checkpoints.
        model: Trained bundle.
        logs: TensorBoard's event files.
        nodes: The recipe's section ``resources`` as JSON if it requests several machines; otherwise empty.
        base_models: Versions of base models that are files or folders of this machine, by path, as JSON. They are part
            of the cache key, so the training must not read another version.
    """
    from textgate.components.step import step_work

    with step_work(inputs=[dataset], outputs=[model, logs]):
        import json
        from pathlib import Path

        from pydantic import TypeAdapter

        from textgate.components.contracts import Resources, Training
        from textgate.components.contracts.training_cost import read_training_cost
        from textgate.components.train.launch import TrainingJob, run, unchanged_base_model
        from textgate.components.train.multi_node import run_on_nodes
        from textgate.components.train.trainjob import on_cluster

        settings = TypeAdapter(Training).validate_json(training)
        job = TrainingJob(Path(dataset.path), name, settings, code, bucket, Path(model.path), Path(logs.path))
        elsewhere = bool(nodes) and on_cluster()
        with unchanged_base_model(settings, json.loads(base_models)):
            bundle = run_on_nodes(job, Resources.model_validate_json(nodes)) if elsewhere else run(job)
        cost = read_training_cost(job.model)
        shown = cost.model_dump(include={"seconds", "cpu_seconds", "peak_memory"}, exclude_none=True) if cost else {}
        use = cost.accelerator_use.model_dump(exclude_none=True) if cost and cost.accelerator_use else {}
        shown |= {f"accelerator_{name}": value for name, value in use.items()}
        model.metadata.update({"family": bundle.family, "fingerprint": bundle.fingerprint, **bundle.metrics, **shown})
