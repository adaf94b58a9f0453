"""Print JSON Schemas of the custom resources of KServe and Kubeflow Trainer, by "API KIND".

Both projects generate the models of their Python clients and their CRDs from the same Go types, so fields, required
fields and types of the models are those of the CRDs.
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
_UNDEFINED = ("Knative", "V1alpha1WorkerSpec")
"""Prefixes of types that KServe's models refer to but the client does not define: parts of a status, and workers on
several nodes. Values of these types are rejected because they cannot be checked."""
_GROUP = re.compile(r"K8sIoApi[A-Z][a-z]+(?=V\d)")
"""Prefix of some Kubernetes models in KServe's client."""
_COLLECTION = re.compile(r"([Ll]ist|[Dd]ict)[\[(](?:str, ?)?(.+)[\])]")


def main() -> None:
    models = kserve_models()
    schemas = {
        "serving.kserve.io/v1beta1 InferenceService": kserve_schema("V1beta1InferenceService", models),
        "serving.kserve.io/v1alpha1 ServingRuntime": kserve_schema("V1alpha1ServingRuntime", models),
        "trainer.kubeflow.org/v1alpha1 TrainJob": pydantic_schema(TrainerV1alpha1TrainJob),
    }
    print(json.dumps(schemas))


def kserve_models() -> ModuleType:
    """Import KServe's models without its server, whose import takes six seconds."""
    package = ModuleType("kserve")
    package.__path__ = list(importlib.util.find_spec("kserve").submodule_search_locations)
    sys.modules["kserve"] = package
    return importlib.import_module("kserve.models")


def kserve_schema(name: str, models: ModuleType) -> dict:
    """Return the schema of a KServe model; types of Kubernetes come from the Kubernetes client."""
    definitions = {}

    def schema(kind: str) -> dict:
        if collection := _COLLECTION.fullmatch(kind):
            inner = schema(collection[2])
            if collection[1].lower() == "list":
                return {"type": "array", "items": inner}
            return {"type": "object", "additionalProperties": inner}
        if kind in _SCALARS:
            return {"type": _SCALARS[kind]}
        if kind == "object":  # one of several types, such as the number or name of a port
            return {}
        if kind.startswith(_UNDEFINED):
            return {"not": {}}
        if kind not in definitions:
            definitions[kind] = {}  # ends the recursion for a model that contains itself
            if model := getattr(models, kind, None):
                definitions[kind] = {
                    "type": "object",
                    "properties": {
                        model.attribute_map[key]: schema(type_name) for key, type_name in model.openapi_types.items()
                    },
                    "required": [model.attribute_map[key] for key in required_attributes(model)],
                    "additionalProperties": False,
                }
            else:
                kubernetes_schema = pydantic_schema(getattr(kubernetes.client, _GROUP.sub("", kind)))
                definitions.update(kubernetes_schema.pop("$defs", {}))
                definitions[kind] = kubernetes_schema
        return {"$ref": f"#/$defs/{kind}"}

    return {**schema(name), "$defs": definitions}


def required_attributes(model: type) -> list[str]:
    """Return the attributes of a KServe model that must not be None."""
    settings = importlib.import_module("kserve.configuration").Configuration()
    settings.client_side_validation = False
    instance = model(local_vars_configuration=settings)
    settings.client_side_validation = True
    required = []
    for key in model.openapi_types:
        try:
            setattr(instance, key, None)
        except ValueError:
            required.append(key)
    return required


def pydantic_schema(model: type) -> dict:
    """Return the schema of a pydantic model, with additional properties forbidden."""
    schema = model.model_json_schema()
    for definition in (schema, *schema.get("$defs", {}).values()):
        if "actual_instance" in definition.get("properties", {}):  # a quantity, or a number or a name
            definition.clear()
            definition["type"] = _QUANTITY
        elif "properties" in definition:
            definition["additionalProperties"] = False
    return schema


main()
