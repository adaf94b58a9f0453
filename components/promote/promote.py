"""Publish a bundle that passed gate 2, and point the champion channel at it."""

from pathlib import Path

from textgate.components.contracts import GateDecision, InputError, ModelBundle, Promotion
from textgate.components.storage import Registry


def promote_bundle(registry: Registry, model: str, bundle_folder: Path, decision: GateDecision, run: str) -> Promotion:
    """Make the judged bundle champion, unless another has become champion since it was judged.

    A step that is tried again after its first try was cut off finds what that one did, and says the same.

    Raises:
        InputError: the decision is not to promote, or is about another bundle, or the champion has moved.
    """
    bundle = ModelBundle.load(bundle_folder)
    if not decision.passed or decision.gate != "served":
        raise InputError(f"only what gate 2 lets pass is promoted, and its decision is {decision.message}")
    if decision.bundle != bundle.fingerprint:
        raise InputError(
            f"gate 2 judged the bundle {decision.bundle[:12]}, not {bundle.fingerprint[:12]} in {bundle_folder}"
        )
    version = registry.publish(model, bundle_folder)
    champion = registry.channel(model)
    if champion and (champion.run, champion.version) == (run, version):
        return Promotion(model=model, version=version, previous=champion.previous)
    move = registry.update_channel(
        model, version, run=run, reason=decision.message, decision=decision, expected=decision.champion
    )
    print(f"promoted {model} {version}" + (f", before {move.previous}" if move.previous else ""), flush=True)
    return Promotion(model=model, version=version, previous=move.previous)
