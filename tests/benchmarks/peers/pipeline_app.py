"""FastAPI with transformers.pipeline: one task owns the pipeline and classifies all waiting requests in one batch.

https://huggingface.co/docs/transformers/pipeline_webserver
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

_MAX_TEXTS = 32


class ClassifyRequest(BaseModel):
    texts: list[str]


class Prediction(BaseModel):
    label: str
    score: float


class ClassifyResponse(BaseModel):
    predictions: list[Prediction]


Waiting = tuple[list[str], asyncio.Future[list[Prediction]]]


async def classify_batches(queue: asyncio.Queue[Waiting]) -> None:
    classify = pipeline("text-classification", model=os.environ["BENCHMARK_CHECKPOINT"], device="cpu")
    while True:
        waiting = [await queue.get()]
        while not queue.empty() and sum(len(texts) for texts, _ in waiting) < _MAX_TEXTS:
            waiting.append(queue.get_nowait())
        texts = [text for request_texts, _ in waiting for text in request_texts]
        predictions = iter(await asyncio.to_thread(classify, texts, batch_size=len(texts), truncation=True))
        for request_texts, future in waiting:
            future.set_result([Prediction(**next(predictions)) for _ in request_texts])


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.queue = asyncio.Queue()
    app.state.task = asyncio.create_task(classify_batches(app.state.queue))
    yield
    app.state.task.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/classify")
async def classify(request: ClassifyRequest) -> ClassifyResponse:
    future: asyncio.Future[list[Prediction]] = asyncio.get_running_loop().create_future()
    await app.state.queue.put((request.texts, future))
    return ClassifyResponse(predictions=await future)
