"""JSON Schemas of the kinds that KServe and Kubeflow Trainer add to Kubernetes, on standard output, by "API KIND".

Both projects generate the models of their Python clients from the Go types that they generate their CRDs from: what
such a model does not know, requires or allows, the CRD does not either.
"""

import importlib
import importlib.util
import json
import re
import sys
from types import ModuleType

import kubernetes.client
from kubeflow_trainer_api.models.trainer_v1alpha1_train_job import TrainerV1alpha1TrainJob

_QUANTITY = ["string", "number"]
_SCALARS = {
    "str": "string",
    "int": "integer",
    "bool": "boolean",
    "float": "number",
    "datetime": "string",
    "V1Time": "string",
    "ResourceQuantity": _QUANTITY,
    "V1beta1MetricQuantity": _QUANTITY,
}
_NOWHERE = ("Knative", "V1alpha1WorkerSpec")
"""Beginnings of names that KServe's models refer to and the client lacks: parts of a status, and workers on several
nodes. They are refused, since nothing could be said about them."""
_GROUP = re.compile(r"K8sIoApi[A-Z][a-z]+(?=V\d)")
"""What KServe puts before the name of some of Kubernetes' models."""
_COLLECTION = re.compile(r"([Ll]ist|[Dd]ict)[\[(](?:str, ?)?(.+)[\])]")


def main() -> None:
    models = kserve_models()
    schemas = {
        "serving.kserve.io/v1beta1 InferenceService": of_kserve("V1beta1InferenceService", models),
        "serving.kserve.io/v1alpha1 ServingRuntime": of_kserve("V1alpha1ServingRuntime", models),
        "trainer.kubeflow.org/v1alpha1 TrainJob": of_pydantic(TrainerV1alpha1TrainJob),
    }
    print(json.dumps(schemas))


def kserve_models() -> ModuleType:
    """KServe's models without its server, whose import takes six seconds."""
    package = ModuleType("kserve")
    package.__path__ = list(importlib.util.find_spec("kserve").submodule_search_locations)
    sys.modules["kserve"] = package
    return importlib.import_module("kserve.models")


def of_kserve(name: str, models: ModuleType) -> dict:
    """The schema of a model of KServe's; what it takes from Kubernetes is looked up in Kubernetes' own client."""
    definitions = {}

    def schema(kind: str) -> dict:
        if collection := _COLLECTION.fullmatch(kind):
            inner = schema(collection[2])
            if collection[1].lower() == "list":
                return {"type": "array", "items": inner}
            return {"type": "object", "additionalProperties": inner}
        if kind in _SCALARS:
            return {"type": _SCALARS[kind]}
        if kind == "object":  # of more than one type, such as a port's number or name
            return {}
        if kind.startswith(_NOWHERE):
            return {"not": {}}
        if kind not in definitions:
            definitions[kind] = {}  # so that a model that holds itself ends
            if model := getattr(models, kind, None):
                definitions[kind] = {
                    "type": "object",
                    "properties": {model.attribute_map[key]: schema(held) for key, held in model.openapi_types.items()},
                    "required": [model.attribute_map[key] for key in required(model)],
                    "additionalProperties": False,
                }
            else:
                found = of_pydantic(getattr(kubernetes.client, _GROUP.sub("", kind)))
                definitions.update(found.pop("$defs", {}))
                definitions[kind] = found
        return {"$ref": f"#/$defs/{kind}"}

    return {**schema(name), "$defs": definitions}


def required(model: type) -> list[str]:
    """The attributes that a model of KServe's lets nobody set to None."""
    settings = importlib.import_module("kserve.configuration").Configuration()
    settings.client_side_validation = False
    instance = model(local_vars_configuration=settings)
    settings.client_side_validation = True
    found = []
    for key in model.openapi_types:
        try:
            setattr(instance, key, None)
        except ValueError:
            found.append(key)
    return found


def of_pydantic(model: type) -> dict:
    """The schema of a pydantic model, to which no property may be added."""
    schema = model.model_json_schema()
    for definition in (schema, *schema.get("$defs", {}).values()):
        if "actual_instance" in definition.get("properties", {}):  # a quantity, or a number or name
            definition.clear()
            definition["type"] = _QUANTITY
        elif "properties" in definition:
            definition["additionalProperties"] = False
    return schema


main()
