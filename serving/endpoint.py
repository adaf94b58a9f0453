"""What HTTP and gRPC both answer with: limits, the choice of a version, the batcher, shadows and explanations."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import eq

import numpy as np

from textgate.components.contracts import InputError
from textgate.components.inference.explain import Contribution, erase
from textgate.components.storage import CHAMPION, ModelRef
from textgate.serving.batching import Batcher, BatchPrediction, Version
from textgate.serving.errors import RequestError
from textgate.serving.feedback import Journal
from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics
from textgate.serving.repository import SHADOW, Repository
from textgate.serving.sampling import sampled


@dataclass(frozen=True)
class Limits:
    """What a request may be."""

    deadline: float = 5.0
    """Seconds until a request is answered or given up."""
    body: int = 8 * 2**20
    """Bytes of its body."""
    texts: int = 1_024
    characters: int = 100_000
    """Of one text."""
    refuse_long: bool = False
    """Whether a text longer than the model reads is refused; else its end is left out, and the answer says so."""


@dataclass(frozen=True)
class IndexEntry:
    """A model as the repository's index lists it."""

    name: str
    version: str
    state: str
    """READY or UNAVAILABLE, as in Triton's model repository extension."""
    reason: str


@dataclass(eq=False)
class Endpoint:
    """The models of a repository behind one batcher."""

    repository: Repository
    batcher: Batcher
    limits: Limits
    metrics: Metrics
    journal: Journal
    shadow_share: float = 0.0
    """Of the requests, 0 to 1, that a model's shadow answers too."""
    _shadows: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def ready(self) -> bool:
        """Whether there is something to answer with."""
        return bool(self.repository.models)

    async def answer(
        self,
        model: str,
        texts: Sequence[str],
        request_id: str,
        version: str | None = None,
        deadline: float | None = None,
    ) -> BatchPrediction:
        """Classify ``texts``; ``deadline`` in seconds, if the caller's is nearer than the server's.

        Raises:
            RequestError: the model is not served, the texts are over a limit, or there is too much to do.
        """
        chosen = self.repository.find(model, version) if version else self.repository.choose(model, request_id)
        self._check(texts)
        deadline = self.limits.deadline if deadline is None else min(deadline, self.limits.deadline)
        answers = await self.batcher.answer(chosen, texts, deadline)
        self._check_length(answers, len(texts))
        # Whoever asked is answered first.
        asyncio.get_running_loop().call_soon(self._remember, request_id, texts, answers)
        shadow = self.repository.models[model].shadow if model in self.repository.models else None
        if shadow is not None and shadow is not chosen and sampled(request_id, self.shadow_share, SHADOW):
            task = asyncio.create_task(self._shadow(shadow, texts, answers))
            self._shadows.add(task)
            task.add_done_callback(self._shadows.discard)
        return answers

    async def explain(
        self, model: str, text: str, label: str | None, request_id: str
    ) -> tuple[BatchPrediction, str, list[Contribution]]:
        """Classify one text and tell what each word contributes to ``label``, or to the one that is answered.

        Raises:
            RequestError: as for ``answer``, or the model has no such label.
        """
        chosen = self.repository.choose(model, request_id)
        labels = chosen.loaded.bundle.labels
        if label is not None and label not in labels:
            raise RequestError(422, f"label: {model} has no label {label!r}; it has {', '.join(labels)}")
        self._check([text])
        erasures = await asyncio.to_thread(erase, text)
        # The whole text is the first of them; of a blank one there are none.
        answers = await self.batcher.answer(chosen, erasures.texts or [text], self.limits.deadline)
        self._check_length(answers, 1)
        label = label or labels[answers.chosen[0]]
        return answers, label, erasures.contributions(np.array(answers.probabilities), labels.index(label))

    def describe(self, model: str, version: str | None = None) -> Version:
        """A version that is served; the main one of the model when none is named.

        Raises:
            RequestError: 404, it is not served.
        """
        return self.repository.find(model, version)

    async def index(self) -> list[IndexEntry]:
        """Every model of the registry that has a champion, or is served; when the store is away, those served."""
        champions: dict[str, str] = {}
        try:
            found = await asyncio.to_thread(self.repository.registry.models)
            champions = {model: channels[CHAMPION] for model, channels in found.items() if CHAMPION in channels}
        except InputError as error:
            log_event("the store does not answer", logging.WARNING, reason=str(error))
        served = {model: served.main.version for model, served in self.repository.models.items()}
        return [
            IndexEntry(
                model, version, "READY" if model in served else "UNAVAILABLE", "" if model in served else "not loaded"
            )
            for model, version in sorted({**champions, **served}.items())
        ]

    def feedback(self, model: str | None, request_id: str, index: int, label: str) -> None:
        """Keep the right label of a text that was answered.

        Raises:
            RequestError: the model is not named where several are served, is not served, or has no such label.
        """
        if model is None:
            if len(self.repository.models) != 1:
                raise RequestError(422, f"model: name one of those served: {', '.join(self.repository.models)}")
            (model,) = self.repository.models
        labels = self.describe(model).loaded.bundle.labels
        if label not in labels:
            raise RequestError(422, f"label: {model} has no label {label!r}; it has {', '.join(labels)}")
        self.journal.feedback(request_id, index, model, label)
        self.metrics.feedback.labels(model).inc()

    async def load(self, model: str) -> None:
        """Serve a model of the registry, or take in where its channels point now.

        Raises:
            RequestError: 404, it cannot be served.
        """
        served = self.repository.models.get(model)
        target = served.target if served else ModelRef(model)
        try:
            await asyncio.to_thread(self.repository.load, target)
        except InputError as error:
            raise RequestError(404, str(error)) from error

    async def unload(self, model: str) -> None:
        """Serve a model no longer.

        Raises:
            RequestError: 404, it is not served.
        """
        try:
            await asyncio.to_thread(self.repository.unload, model)
        except InputError as error:
            raise RequestError(404, str(error)) from error

    def _remember(self, request_id: str, texts: Sequence[str], answers: BatchPrediction) -> None:
        labels = [answers.labels[number] for number in answers.chosen]
        scores = [row[number] for row, number in zip(answers.probabilities, answers.chosen, strict=True)]
        self.journal.answered(request_id, answers.model, answers.version, texts, labels, scores)

    def _check(self, texts: Sequence[str]) -> None:
        if not texts:
            raise RequestError(422, "there is no text to answer: give at least one")
        if len(texts) > self.limits.texts:
            raise RequestError(422, f"{len(texts)} texts are more than the {self.limits.texts} that a request may have")
        for row, text in enumerate(texts):
            if len(text) > self.limits.characters:
                raise RequestError(
                    422,
                    f"text {row} has {len(text)} characters, more than the {self.limits.characters} that it may have",
                )

    def _check_length(self, answers: BatchPrediction, texts: int) -> None:
        """Of the first ``texts``, when what is longer than the model reads is to be refused."""
        if self.limits.refuse_long and any(answers.truncated[:texts]):
            row = answers.truncated.index(True)
            raise RequestError(422, f"text {row} is longer than {answers.model} reads, and this server cuts none")

    async def _shadow(self, shadow: Version, texts: Sequence[str], answers: BatchPrediction) -> None:
        """Let the shadow answer what was answered, and count how it differs; nobody waits for it."""
        try:
            others = await self.batcher.answer(shadow, texts, self.limits.deadline)
        except RequestError as refused:
            log_event("the shadow did not answer", logging.DEBUG, model=shadow.model, reason=refused.message)
            return
        names = (shadow.model, shadow.version)
        if others.labels != answers.labels:
            log_event("the shadow has other labels", logging.WARNING, model=shadow.model, version=shadow.version)
            return
        same = sum(map(eq, others.chosen, answers.chosen))
        self.metrics.shadow_texts.labels(*names, "yes").inc(same)
        self.metrics.shadow_texts.labels(*names, "no").inc(len(texts) - same)
        for difference in np.abs(np.subtract(others.probabilities, answers.probabilities)).max(axis=1):
            self.metrics.shadow_difference.labels(*names).observe(difference)
