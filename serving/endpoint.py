"""Operations behind both HTTP and gRPC: classify, explain, record feedback, load and unload models."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import eq

import numpy as np

from textgate.components.contracts import InputError, StoreError
from textgate.components.inference.explain import Contribution, erase
from textgate.components.inference.failures import describe
from textgate.components.storage import ModelRef
from textgate.serving.batch import BatchPrediction
from textgate.serving.batching import Batcher
from textgate.serving.errors import ModelRefusedError, RequestError, list_names, shorten
from textgate.serving.feedback import MAX_INDEX, FeedbackLog
from textgate.serving.log import log_event
from textgate.serving.metrics import Metrics
from textgate.serving.repository import Repository
from textgate.serving.request_recorder import RecordedRequest
from textgate.serving.sampling import is_sampled
from textgate.serving.served_model import SHADOW, ServedVersion
from textgate.serving.spool import SpoolError


@dataclass(frozen=True)
class RequestLimits:
    """Limits of a request."""

    deadline_seconds: float = 5.0
    """Seconds until a request is answered or fails."""
    max_body_bytes: int = 8 * 2**20
    """Size of the body, or of a gRPC message."""
    max_texts: int = 1_024
    """Number of texts."""
    max_characters: int = 100_000
    """Length of one text in characters."""
    reject_long_texts: bool = False
    """True to reject a text that is longer than the model reads; False to truncate it and mark the prediction."""

    def check_text_count(self, count: int) -> None:
        """Check the number of texts of a request.

        Raises:
            RequestError: 422 if there is none, or there are more than ``max_texts``.
        """
        if count < 1:
            raise RequestError(422, "there is no text to classify: send at least one")
        if count > self.max_texts:
            raise RequestError(422, f"{count} texts are more than the {self.max_texts} that a request may have")


@dataclass(frozen=True)
class IndexEntry:
    """Entry of the repository index, with the field names of the protocol."""

    name: str
    version: str
    state: str
    """READY or UNAVAILABLE, as in Triton's model repository extension."""
    reason: str


@dataclass(eq=False)
class Endpoint:
    """The models of a repository, served through one batcher."""

    repository: Repository
    batcher: Batcher
    limits: RequestLimits
    metrics: Metrics
    feedback_log: FeedbackLog
    draining: bool = False
    """True after the signal to stop, when requests are still answered."""
    _shadow_tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def ready(self) -> bool:
        """True if the server answers: a model is served, a worker thread lives, and no signal to stop has arrived.

        A model that is refused does not count, so that it harms no other.
        """
        return bool(self.repository.models) and self.batcher.is_alive and not self.draining

    async def classify(
        self,
        request: RecordedRequest,
        model: str,
        texts: Sequence[str],
        version: str | None = None,
        deadline_seconds: float | None = None,
    ) -> BatchPrediction:
        """Classify texts.

        Args:
            request: HTTP request or gRPC call, on which the number of texts and the version that answers are recorded.
                Its id decides whether the challenger answers and whether the shadow is compared.
            model: Name of the model.
            texts: Raw texts; the bundle normalizes them.
            version: Version to use instead of the champion or challenger.
            deadline_seconds: Deadline of the client; the server's deadline applies if it is shorter.

        Raises:
            RequestError: If the model is not served, the texts exceed a limit, or the server is overloaded.
        """
        request.text_count = len(texts)
        table = self.repository.table
        served = table.find(model, version) if version else table.choose(model, request.id)
        self._check_texts(texts)
        limit = self.limits.deadline_seconds
        deadline_seconds = limit if deadline_seconds is None else min(deadline_seconds, limit)
        prediction = await self.batcher.predict(served, texts, deadline_seconds)
        self._check_truncation(prediction, len(texts))
        request.answered_by = (prediction.model, prediction.version)
        # The waiting client comes first.
        asyncio.get_running_loop().call_soon(self._log_prediction, request.id, texts, prediction)
        current = self.repository.models.get(model)
        shadow = current.shadow if current else None
        shadow_share = self.repository.traffic.shadow_share
        if shadow is not None and shadow is not served and is_sampled(request.id, shadow_share, SHADOW):
            task = asyncio.create_task(self._compare_shadow(shadow, texts, prediction))
            self._shadow_tasks.add(task)
            task.add_done_callback(self._shadow_tasks.discard)
        return prediction

    async def explain(
        self, request: RecordedRequest, model: str, text: str, label: str | None
    ) -> tuple[BatchPrediction, str, list[Contribution]]:
        """Classify one text and compute the contribution of each word to a label.

        Returns:
            The prediction, whose first row is the complete text; the explained label, which is ``label`` or the
            predicted one; and the contribution of each word.

        Raises:
            RequestError: As for ``classify``, or if the model has no such label.
        """
        request.text_count = 1
        served = self.repository.table.choose(model, request.id)
        labels = served.loaded.bundle.labels
        if label is not None:
            _check_label(model, label, labels)
        self._check_texts([text])
        erasures = await asyncio.to_thread(erase, text)
        # The first erasure is the complete text; a blank text has no erasures.
        prediction = await self.batcher.predict(served, erasures.texts or [text], self.limits.deadline_seconds)
        self._check_truncation(prediction, 1)
        request.answered_by = (prediction.model, prediction.version)
        label = label or labels[prediction.label_indices[0]]
        contributions = erasures.contributions(np.array(prediction.probabilities), labels.index(label))
        return prediction, label, contributions

    def model_name(self, model: str | None) -> str:
        """Return ``model``, or the name of the served model if a request may leave it out because there is only one.

        Raises:
            RequestError: 422 if several are served; 503 if none is.
        """
        if model is not None:
            return model
        names = list(self.repository.models)
        if not names:
            raise RequestError(503, "no model is served")
        if len(names) > 1:
            raise RequestError(422, f"model: name one of the served models: {list_names(names)}")
        return names[0]

    def find(self, model: str, version: str | None = None) -> ServedVersion:
        """Return a served version; see ``ModelTable.find``."""
        return self.repository.table.find(model, version)

    async def index(self) -> list[IndexEntry]:
        """List the models that are served, refused, or have a champion in the registry.

        If the store does not answer, only the served and the refused models are listed.
        """
        champions: dict[str, str] = {}
        try:
            champions = await asyncio.to_thread(self.repository.channels.champions)
        except InputError as error:
            log_event("the store does not answer", logging.WARNING, reason=describe(error))
        served = {model: served.main.version for model, served in self.repository.models.items()}
        refused = {refusal.model: refusal for refusal in self.repository.refused}
        versions = {**champions, **{model: refusal.version for model, refusal in refused.items()}, **served}
        return [
            IndexEntry(model, version, "READY", "")
            if model in served
            else IndexEntry(model, version, "UNAVAILABLE", refused[model].reason if model in refused else "not loaded")
            for model, version in sorted(versions.items())
        ]

    async def feedback(self, model: str | None, request_id: str, index: int, label: str) -> None:
        """Record the correct label of a text; it is on the disk when this returns.

        Args:
            model: Name of the model; may be None if only one is served.
            request_id: Id of the request that classified the text.
            index: Index of the text in that request.
            label: Correct label.

        Raises:
            RequestError: If the model is ambiguous or not served, or has no such label, or the request no such text;
                507 if it cannot be written, 504 if that takes too long.
        """
        model = self.model_name(model)
        _check_label(model, label, self.find(model).loaded.bundle.labels)
        count = self.feedback_log.text_count(request_id, model)
        if index >= (MAX_INDEX if count is None else count):
            known = "" if count is None else f": it had {count}"
            raise RequestError(422, f"index: the request had no text with this index{known}")
        written = self.feedback_log.add_feedback(request_id, index, model, label)
        try:
            await asyncio.wait_for(asyncio.wrap_future(written), self.limits.deadline_seconds)
        except SpoolError as error:
            raise RequestError(507, str(error), retry_after=60) from error
        except TimeoutError as error:
            raise RequestError(504, "the server's disk did not take the feedback in time", retry_after=1) from error
        self.metrics.feedback.labels(model).inc()

    async def load(self, model: str) -> None:
        """Load a model of the registry, or update it to the version that its channel points at.

        Raises:
            RequestError: 404 if it does not exist, 422 if it cannot be served, 503 if the store fails.
        """
        served = self.repository.models.get(model)
        target = served.target if served else ModelRef(model)
        try:
            await asyncio.to_thread(self.repository.load, target)
        except InputError as error:
            status = 422 if isinstance(error, ModelRefusedError) else 404
            raise RequestError(503 if isinstance(error, StoreError) else status, describe(error)) from error

    async def unload(self, model: str) -> None:
        """Stop serving a model, or trying to.

        Raises:
            RequestError: 404 if it is neither served nor refused.
        """
        try:
            await asyncio.to_thread(self.repository.unload, model)
        except InputError as error:
            raise RequestError(404, describe(error)) from error

    def _log_prediction(self, request_id: str, texts: Sequence[str], prediction: BatchPrediction) -> None:
        indices = prediction.label_indices
        labels = [prediction.labels[index] for index in indices]
        scores = [row[index] for row, index in zip(prediction.probabilities, indices, strict=True)]
        self.feedback_log.add_prediction(request_id, prediction.model, prediction.version, texts, labels, scores)

    def _check_texts(self, texts: Sequence[str]) -> None:
        limits = self.limits
        limits.check_text_count(len(texts))
        for row, text in enumerate(texts):
            if len(text) > limits.max_characters:
                raise RequestError(
                    422,
                    f"text {row} has {len(text)} characters, more than the {limits.max_characters} that it may have",
                )

    def _check_truncation(self, prediction: BatchPrediction, texts: int) -> None:
        """Reject the request if one of its first ``texts`` was truncated and the server does not truncate."""
        if self.limits.reject_long_texts and any(prediction.truncated[:texts]):
            row = prediction.truncated.index(True)
            raise RequestError(
                422, f"text {row} is longer than the maximum of {prediction.model}, and this server does not truncate"
            )

    async def _compare_shadow(self, shadow: ServedVersion, texts: Sequence[str], prediction: BatchPrediction) -> None:
        """Classify the texts with the shadow too, and count the differences; no client waits for this."""
        try:
            other = await self.batcher.predict(shadow, texts, self.limits.deadline_seconds)
        except RequestError as error:
            log_event("the shadow did not answer", logging.DEBUG, model=shadow.model, reason=error.message)
            return
        labels = (shadow.model, shadow.version)
        if other.labels != prediction.labels:
            log_event("the shadow has other labels", logging.WARNING, model=shadow.model, version=shadow.version)
            return
        same = sum(map(eq, other.label_indices, prediction.label_indices))
        self.metrics.shadow_texts.labels(*labels, "yes").inc(same)
        self.metrics.shadow_texts.labels(*labels, "no").inc(len(texts) - same)
        for difference in np.abs(np.subtract(other.probabilities, prediction.probabilities)).max(axis=1):
            self.metrics.shadow_difference.labels(*labels).observe(difference)


def _check_label(model: str, label: str, labels: Sequence[str]) -> None:
    if label not in labels:
        raise RequestError(422, f"label: {model} has no label {shorten(repr(label), 100)}; it has {list_names(labels)}")
