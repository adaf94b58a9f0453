"""Promotion step: publish a bundle that passed gate 2, and make it champion and, if the decision says so, reference."""

from pathlib import Path

from textgate.components.contracts import GateDecision, InputError, ModelBundle, Promotion
from textgate.components.storage import Registry, follow_reference, repaired_channel
from textgate.components.storage.model_ref import VERSION_CHARACTERS
from textgate.components.storage.restore import restore_version


def promote_bundle(registry: Registry, model: str, bundle_folder: Path, decision: GateDecision, run: str) -> Promotion:
    """Make the judged bundle champion, unless the champion has changed since the decision, and move the reference.

    A retry of the step after an interruption finds the work of the first try and returns the same result.

    Args:
        registry: Registry to publish to.
        model: Name of the model.
        bundle_folder: The bundle that gate 2 judged.
        decision: Decision of gate 2.
        run: Name of the run, for the audit log.

    Raises:
        InputError: The decision is a rejection or is about another bundle.
        ConflictError: The champion has changed.
    """
    bundle = ModelBundle.load(bundle_folder)
    if not decision.passed or decision.gate != "served":
        raise InputError(f"only what gate 2 lets pass is promoted, and its decision is {decision.message}")
    if decision.bundle != bundle.fingerprint:
        raise InputError(
            f"gate 2 judged the bundle {decision.bundle[:12]}, not {bundle.fingerprint[:12]} in {bundle_folder}"
        )
    if decision.champion == bundle.fingerprint[:VERSION_CHARACTERS]:
        # Gate 2 lets the champion itself pass only if the stored one is damaged.
        restore_version(registry.store, model, bundle_folder)
    version = registry.publish(model, bundle_folder)
    champion = repaired_channel(registry, model, run=run)
    if champion is None or (champion.run, champion.version) != (run, version):
        champion = registry.update_channel(
            model, version, run=run, reason=decision.message, decision=decision, expected=decision.champion
        )
        before = f", before {champion.previous}" if champion.previous else ""
        print(f"promoted {model} {version}{before}", flush=True)
    if decision.reference:
        follow_reference(registry, model, run=run, reason=decision.reference.message)
    return Promotion(model=model, version=version, previous=champion.previous)
