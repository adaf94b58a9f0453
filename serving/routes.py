"""The table of all HTTP routes: routing, authorization and the OpenAPI document are derived from it."""

from textgate.serving import schemas
from textgate.serving.compatible_api import CompatibleApi
from textgate.serving.endpoint import Endpoint
from textgate.serving.native_api import NativeApi
from textgate.serving.open_inference_http import OpenInferenceApi
from textgate.serving.openapi import openapi_route
from textgate.serving.routing import Route
from textgate.serving.web_page import page_routes


def all_routes(endpoint: Endpoint) -> list[Route]:
    """Return every route of the server; those without a summary are not part of the documented interface."""
    documented = [*_native_routes(endpoint), *_compatible_routes(endpoint), *_open_inference_routes(endpoint)]
    return [*documented, openapi_route(documented), *page_routes()]


def _native_routes(endpoint: Endpoint) -> list[Route]:
    api, check_capacity = NativeApi(endpoint), endpoint.batcher.check_capacity
    return [
        Route(
            "POST",
            "/v1/models/{model}:classify",
            api.classify,
            summary="Classify texts",
            request_model=schemas.ClassifyRequest,
            response_schema=schemas.CLASSIFY_RESPONSE,
            check_capacity=check_capacity,
        ),
        Route(
            "POST",
            "/v1/models/{model}:explain",
            api.explain,
            summary="Classify a text and return the contribution of each word",
            request_model=schemas.ExplainRequest,
            response_schema=schemas.EXPLAIN_RESPONSE,
            check_capacity=check_capacity,
        ),
        Route(
            "POST",
            "/v1/feedback",
            api.feedback,
            summary="Report the correct label of a text that was classified",
            request_model=schemas.FeedbackRequest,
            response_schema=schemas.FEEDBACK_RESPONSE,
            success_status=202,
        ),
        Route(
            "GET",
            "/v1/models",
            api.models,
            summary="List the served models",
            response_schema=schemas.MODELS_RESPONSE,
        ),
        Route(
            "GET",
            "/metrics",
            api.metrics,
            summary="Return the metrics in Prometheus' text format",
            response_schema=schemas.TEXT,
            media_type="text/plain",
        ),
    ]


def _compatible_routes(endpoint: Endpoint) -> list[Route]:
    api, check_capacity = CompatibleApi(endpoint), endpoint.batcher.check_capacity
    return [
        Route(
            "POST",
            "/models/{model}",
            api.hugging_face,
            summary="Classify texts, in Hugging Face's format",
            request_model=schemas.HubRequest,
            response_schema=schemas.HUB_RESPONSE,
            check_capacity=check_capacity,
        ),
        Route(
            "POST",
            "/predict",
            api.predict,
            summary="Classify texts, in the format of Text Embeddings Inference",
            request_model=schemas.TeiRequest,
            response_schema=schemas.TEI_RESPONSE,
            check_capacity=check_capacity,
        ),
        Route(
            "GET",
            "/info",
            api.info,
            summary="Describe the only served model, in the format of Text Embeddings Inference",
            response_schema=schemas.TEI_INFO,
        ),
        Route(
            "POST",
            "/classify",
            api.classify,
            summary="Classify texts, in vLLM's format",
            request_model=schemas.VllmRequest,
            response_schema=schemas.VLLM_RESPONSE,
            check_capacity=check_capacity,
        ),
    ]


def _open_inference_routes(endpoint: Endpoint) -> list[Route]:
    api = OpenInferenceApi(endpoint)
    return [
        Route(
            "GET",
            "/v2",
            api.server_metadata,
            summary="Describe the server",
            response_schema=schemas.SERVER_METADATA,
        ),
        Route(
            "GET",
            "/v2/health/live",
            api.server_live,
            summary="Report whether the server is running",
            response_schema=schemas.SERVER_LIVE,
            role=None,
            is_probe=True,
        ),
        *(
            Route(
                "GET",
                path,
                api.server_ready,
                summary="Report whether the server is ready",
                response_schema=schemas.SERVER_READY,
                role=None,
                is_probe=True,
            )
            # Text Embeddings Inference and vLLM have the second.
            for path in ("/v2/health/ready", "/health")
        ),
        Route(
            "GET",
            "/v2/models/stats",
            api.model_statistics,
            summary="Return statistics of all models",
            response_schema=schemas.MODEL_STATISTICS,
        ),
        *_model_routes("/v2/models/{model}", endpoint),
        *_model_routes("/v2/models/{model}/versions/{version}", endpoint),
        *(
            Route(
                method,
                "/v2/repository/index",
                api.repository_index,
                summary="List the models of the registry",
                response_schema=schemas.REPOSITORY_INDEX,
            )
            for method in ("GET", "POST")
        ),
        Route(
            "POST",
            "/v2/repository/models/{model}/load",
            api.load,
            summary="Load a model (admin)",
            response_schema=schemas.EMPTY_OBJECT,
            role="admin",
        ),
        Route(
            "POST",
            "/v2/repository/models/{model}/unload",
            api.unload,
            summary="Unload a model (admin)",
            response_schema=schemas.EMPTY_OBJECT,
            role="admin",
        ),
    ]


def _model_routes(path: str, endpoint: Endpoint) -> list[Route]:
    api = OpenInferenceApi(endpoint)
    return [
        Route(
            "GET",
            path,
            api.model_metadata,
            summary="Describe a model",
            response_schema=schemas.MODEL_METADATA,
        ),
        Route(
            "GET",
            f"{path}/ready",
            api.model_ready,
            summary="Report whether a model is ready",
            response_schema=schemas.MODEL_READY,
            is_probe=True,
        ),
        Route(
            "GET",
            f"{path}/config",
            api.model_config,
            summary="Return the configuration of a model",
            response_schema=schemas.MODEL_CONFIG,
        ),
        Route(
            "GET",
            f"{path}/stats",
            api.model_statistics,
            summary="Return statistics of a model",
            response_schema=schemas.MODEL_STATISTICS,
        ),
        Route(
            "POST",
            f"{path}/infer",
            api.infer,
            summary="Classify the texts of a tensor",
            request_model=schemas.InferRequest,
            response_schema=schemas.INFER_RESPONSE,
            accepts_binary=True,
            binary_response=True,
            check_capacity=endpoint.batcher.check_capacity,
        ),
    ]
