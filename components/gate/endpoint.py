"""Rule of gate 2 that the endpoint can serve the model."""

from pathlib import Path

from textgate.components.contracts import InputError, ModelBundle, Rule, TransformersRuntime
from textgate.components.contracts.recipe.gate import Endpoint
from textgate.components.inference import load_bundle


def endpoint_rule(folder: Path, endpoint: Endpoint | None) -> Rule:
    """Return the rule that the endpoint of the recipe loads and runs the bundle in ``folder``, and who serves it.

    What ``textgate serve`` is for is loaded and warmed up as the server does it.

    Args:
        folder: Folder of the bundle that would be promoted.
        endpoint: Endpoint that the recipe names; None for the one that serves bundles of this runtime.
    """
    runtime = ModelBundle.load(folder).runtime
    needs_torch = isinstance(runtime, TransformersRuntime)
    server = "vLLM, TEI or KServe's Hugging Face runtime" if needs_torch else "textgate serve"
    passed, message = True, f"{server} serves it"
    if needs_torch:
        message += f" (textgate serve cannot serve the runtime {runtime.name})"
    if endpoint and (endpoint == "huggingface") != needs_torch:
        passed = False
        message = f"the recipe's endpoint is {endpoint}, but only {server} can serve the runtime {runtime.name}"
    elif not needs_torch:
        try:
            load_bundle(folder, threads=1).warm_up()
        except InputError as error:
            passed, message = False, f"{server} cannot serve it: {error}"
    return Rule(name="endpoint", threshold=None, value=None, passed=passed, message=message)
