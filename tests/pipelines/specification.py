"""Functions that read a compiled pipeline."""

from typing import Any

ALWAYS_RUN = {"gate-trained", "gate-served", "promote", "record"}


def tasks(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every task of every DAG by its name."""
    named = {}
    for component in [specification["root"], *specification["components"].values()]:
        named.update(component.get("dag", {}).get("tasks", {}))
    return named


def missing_inputs(specification: dict[str, Any]) -> list[str]:
    """Return the inputs that a component needs or passes on but does not get; such a pipeline fails when it runs."""
    faults = []
    for name, component in {"root": specification["root"], **specification["components"]}.items():
        dag_inputs = component.get("inputDefinitions", {})
        for task_name, task in component.get("dag", {}).get("tasks", {}).items():
            needed = specification["components"][task["componentRef"]["name"]].get("inputDefinitions", {})
            item = task.get("parameterIterator", {}).get("itemInput")
            for kind, reference in (("parameters", "componentInputParameter"), ("artifacts", "componentInputArtifact")):
                passed = task.get("inputs", {}).get(kind, {})
                faults += [
                    f"{task_name} is not given {key}"
                    for key, definition in needed.get(kind, {}).items()
                    if key not in passed and key != item and not definition.get("isOptional")
                ]
                faults += [
                    f"{name} has no {source[reference]}"
                    for source in passed.values()
                    if reference in source and source[reference] not in dag_inputs.get(kind, {})
                ]
    return faults
