"""FastAPI with ONNX Runtime as it is usually written: no batching, each request on a thread of its thread pool.

https://fastapi.tiangolo.com/async/ (blocking work belongs into def), https://www.starlette.io/threadpool/ (number of
threads) and https://fastapi.tiangolo.com/deployment/server-workers/
"""

import contextlib
import os
from collections.abc import AsyncIterator

import anyio.to_thread
from engine import Engine, Prediction
from fastapi import FastAPI
from pydantic import BaseModel


class ClassifyRequest(BaseModel):
    texts: list[str]


class ClassifyResponse(BaseModel):
    predictions: list[Prediction]


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # One thread per core: the default of 40 threads is slower.
    anyio.to_thread.current_default_thread_limiter().total_tokens = int(os.environ["BENCHMARK_THREADS"])
    yield


app = FastAPI(lifespan=lifespan)
engine = Engine(threads=1)


@app.post("/classify")
def classify(request: ClassifyRequest) -> ClassifyResponse:
    return ClassifyResponse(predictions=engine.classify(request.texts))
