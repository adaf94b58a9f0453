"""transformers.pipeline behind FastAPI: one task owns the pipeline and answers what waits in one batch.

https://huggingface.co/docs/transformers/pipeline_webserver
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

_MOST_TEXTS = 32


class Asked(BaseModel):
    texts: list[str]


class Answer(BaseModel):
    label: str
    score: float


class Answered(BaseModel):
    predictions: list[Answer]


Waiting = tuple[list[str], asyncio.Future[list[Answer]]]


async def answer(queue: asyncio.Queue[Waiting]) -> None:
    classify = pipeline("text-classification", model=os.environ["BENCHMARK_CHECKPOINT"], device="cpu")
    while True:
        waiting = [await queue.get()]
        while not queue.empty() and sum(len(texts) for texts, _ in waiting) < _MOST_TEXTS:
            waiting.append(queue.get_nowait())
        texts = [text for asked, _ in waiting for text in asked]
        answers = iter(await asyncio.to_thread(classify, texts, batch_size=len(texts), truncation=True))
        for asked, future in waiting:
            future.set_result([Answer(**next(answers)) for _ in asked])


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.queue = asyncio.Queue()
    app.state.task = asyncio.create_task(answer(app.state.queue))
    yield
    app.state.task.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/classify")
async def classify(asked: Asked) -> Answered:
    future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
    await app.state.queue.put((asked.texts, future))
    return Answered(predictions=await future)
