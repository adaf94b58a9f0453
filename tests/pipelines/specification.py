"""Reading a compiled pipeline."""

from typing import Any

ALWAYS_RUN = {"gate-trained", "gate-served", "promote", "record"}


def tasks(specification: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every task of every DAG by name."""
    found = {}
    for component in [specification["root"], *specification["components"].values()]:
        found.update(component.get("dag", {}).get("tasks", {}))
    return found


def not_given(specification: dict[str, Any]) -> list[str]:
    """Inputs that a component needs, or a task of a DAG passes on, and nobody gives: such a file fails when it runs."""
    faults = []
    for name, component in {"root": specification["root"], **specification["components"]}.items():
        given_to_dag = component.get("inputDefinitions", {})
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
                    if reference in source and source[reference] not in given_to_dag.get(kind, {})
                ]
    return faults
