"""FastAPI in front of ONNX Runtime as it is usually written: no batching, the work on its thread pool, a text a thread.

https://fastapi.tiangolo.com/async/ (work that blocks belongs into def), https://www.starlette.io/threadpool/ (how many
threads) and https://fastapi.tiangolo.com/deployment/server-workers/
"""

import contextlib
import os
from collections.abc import AsyncIterator

import anyio.to_thread
from engine import Answer, Engine
from fastapi import FastAPI
from pydantic import BaseModel


class Asked(BaseModel):
    texts: list[str]


class Answered(BaseModel):
    predictions: list[Answer]


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # As many as cores: with its 40 by default they get into each other's way.
    anyio.to_thread.current_default_thread_limiter().total_tokens = int(os.environ["BENCHMARK_AT_ONCE"])
    yield


app = FastAPI(lifespan=lifespan)
engine = Engine(threads=1)


@app.post("/classify")
def classify(asked: Asked) -> Answered:
    return Answered(predictions=engine.classify(asked.texts))
