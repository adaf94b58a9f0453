"""Classification heads on frozen embeddings: logistic regression, support vector machines and a perceptron.

A head is a torch module that maps embeddings (rows, dimensions) float32 to logits (rows, labels).
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from textgate.components.contracts import LogisticHead, MlpHead, Progress, SvmHead
from textgate.components.families.logistic_regression import softmax_layer
from textgate.components.metrics import f1

Tensors = dict[str, torch.Tensor]

_LAYERS_PER_HIDDEN_SIZE = 3
"""Each hidden size of the perceptron is a linear layer, ReLU and dropout."""


@dataclass(frozen=True)
class EmbeddedSplit:
    """EmbeddedSplit texts of one split."""

    embeddings: npt.NDArray[np.float64]
    """(texts, dimensions)."""
    classes: npt.NDArray[np.int64]
    """Class indices (texts,)."""


class RbfSvm(nn.Module):
    """One-vs-rest support vector machines with a radial basis kernel, and a logistic regression over their margins."""

    centre: torch.Tensor
    """(dimensions,) subtracted from every embedding; it keeps the distances, and float32 loses fewer digits."""
    support: torch.Tensor
    """Support vectors (vectors, dimensions) of all machines, minus the centre."""
    coefficients: torch.Tensor
    """Dual coefficients (machines, vectors) float64; 0 where a vector supports other machines only."""
    intercepts: torch.Tensor
    """Intercepts (machines,) float64."""
    gamma: torch.Tensor
    """Scalar of the kernel exp(-gamma * squared distance)."""
    slopes: torch.Tensor
    """Weights (labels, machines) of the regression from margins to logits."""
    offsets: torch.Tensor
    """Bias (labels,) of the regression."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def margins(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the margins (rows, machines) float32: scikit-learn's decision function."""
        embeddings = embeddings - self.centre
        lengths = embeddings.square().sum(dim=1, keepdim=True) + self.support.square().sum(dim=1)
        distances = (lengths - 2 * embeddings @ self.support.T).clamp(min=0)
        kernel = torch.exp(-self.gamma * distances)
        # In float64: the sum of thousands of terms of both signs would keep four digits in float32, and vary by batch.
        return linear(kernel.double(), self.coefficients, self.intercepts).float()

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return logits (rows, labels) for embeddings (rows, dimensions)."""
        return linear(self.margins(embeddings), self.slopes, self.offsets)


def fit_head(
    settings: LogisticHead | SvmHead | MlpHead,
    train: EmbeddedSplit,
    validation: EmbeddedSplit,
    labels: int,
    class_weights: Literal["balanced"] | None = None,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Fit a head on the split ``train``.

    Args:
        settings: Kind of the head and its hyper-parameters.
        train: Split to fit on; every label must occur in it.
        validation: Split for Platt scaling and for choosing the best epoch; every label must occur in it.
        labels: Number of labels.
        class_weights: ``balanced`` weights each class by the inverse of its share of ``train``.

    Returns:
        The head in evaluation mode, and its history (see ``ModelBundle.history``).
    """
    print(f"fitting the {settings.kind} head on {len(train.classes):,} embeddings", flush=True)
    history: list[dict[str, float]] = []
    match settings:
        case LogisticHead():
            tensors = _fit_logistic(settings, train, class_weights)
        case SvmHead():
            tensors = _fit_svm(settings, train, validation, labels, class_weights)
        case MlpHead():
            tensors, history = _fit_mlp(settings, train, validation, labels, class_weights)
    return load_head(settings, tensors), history


def load_head(settings: LogisticHead | SvmHead | MlpHead, tensors: Tensors) -> nn.Module:
    """Return the head with the weights of a ``state_dict``, in evaluation mode."""
    match settings:
        case LogisticHead():
            outputs, inputs = tensors["weight"].shape
            head: nn.Module = nn.Linear(inputs, outputs)
        case SvmHead():
            head = RbfSvm(**tensors)
        case MlpHead():
            last = _LAYERS_PER_HIDDEN_SIZE * len(settings.hidden)
            head = _perceptron(tensors["0.weight"].shape[1], settings, tensors[f"{last}.weight"].shape[0])
    head.load_state_dict(tensors)
    return head.eval()


def _fit_logistic(settings: LogisticHead, train: EmbeddedSplit, class_weights: str | None) -> Tensors:
    from sklearn.linear_model import LogisticRegression

    # Embeddings are not standardized, as in the published systems: on MiniLM's embeddings of film reviews and of news
    # it changed F1 by less than .006, in either direction.
    model = LogisticRegression(C=settings.C, max_iter=settings.max_iterations, class_weight=class_weights)
    weight, bias = _layer(model.fit(train.embeddings, train.classes))
    return {"weight": weight, "bias": bias}


def _fit_svm(
    settings: SvmHead, train: EmbeddedSplit, validation: EmbeddedSplit, labels: int, class_weights: str | None
) -> Tensors:
    """Fit the machines on the split ``train``, and the regression from margins to logits on ``validation``.

    Platt, Probabilistic Outputs for Support Vector Machines (1999). The regression needs texts that the machines were
    not fitted on, whose margins are not biased upwards.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    positives = range(1, 2) if labels == 2 else range(labels)
    coefficients = np.zeros((len(positives), len(train.classes)))
    intercepts = np.zeros(len(positives))
    dimensions = train.embeddings.shape[1]
    gamma = 1 / (dimensions * train.embeddings.var()) if settings.gamma == "scale" else settings.gamma
    progress = Progress(total=len(positives), unit="machines")
    for machine, positive in enumerate(positives):
        model = SVC(C=settings.C, gamma=gamma, class_weight=class_weights)
        model.fit(train.embeddings, train.classes == positive)
        coefficients[machine, model.support_], intercepts[machine] = model.dual_coef_[0], model.intercept_[0]
        progress.update(machine + 1, "support vector machines")
    supports = np.flatnonzero(coefficients.any(axis=0))
    centre = train.embeddings.mean(axis=0)
    machines = {
        "centre": _tensor(centre),
        "support": _tensor(train.embeddings[supports] - centre),
        "coefficients": torch.tensor(coefficients[:, supports]),
        "intercepts": torch.tensor(intercepts),
        "gamma": _tensor(gamma),
    }
    with torch.inference_mode():
        margins = RbfSvm(**machines).margins(_tensor(validation.embeddings)).numpy()
    slopes, offsets = _layer(LogisticRegression(class_weight=class_weights).fit(margins, validation.classes))
    return {**machines, "slopes": slopes, "offsets": offsets}


def _layer(regression: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights (labels, features) and bias (labels,) of a fitted logistic regression."""
    weights, bias = softmax_layer(regression.coef_, regression.intercept_)
    return _tensor(weights), _tensor(bias)


def _fit_mlp(
    settings: MlpHead, train: EmbeddedSplit, validation: EmbeddedSplit, labels: int, class_weights: str | None
) -> tuple[Tensors, list[dict[str, float]]]:
    """Return the weights after the epoch with the best F1 on ``validation``, and the history of all epochs.

    Batches and dropout use torch's global random generator.
    """
    model = _perceptron(train.embeddings.shape[1], settings, labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    inputs, classes = _tensor(train.embeddings), torch.tensor(train.classes)
    validation_inputs = _tensor(validation.embeddings)
    weight = _balanced(train.classes, labels) if class_weights else None
    progress = Progress(total=settings.epochs * len(classes))
    best, weights = -1.0, model.state_dict()
    history = []
    for epoch in range(1, settings.epochs + 1):
        model.train()
        total = 0.0
        for rows in torch.split(torch.randperm(len(classes)), settings.batch_size):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs[rows]), classes[rows], weight)
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item() * len(rows)
        with torch.inference_mode():
            score = f1(validation.classes, model.eval()(validation_inputs).argmax(dim=1).numpy(), labels)
        mean = total / len(classes)
        history.append({"epoch": epoch, "loss": round(mean, 6), "validation_f1": round(score, 6)})
        if score > best:
            best, weights = score, deepcopy(model.state_dict())
        message = f"epoch {epoch} of {settings.epochs}, loss {mean:.3f}, validation F1 {score:.4f}, best {best:.4f}"
        progress.update(epoch * len(classes), message)
    return weights, history


def _balanced(classes: npt.NDArray[np.int64], labels: int) -> torch.Tensor:
    """Return the class weights (labels,) of scikit-learn's ``class_weight="balanced"``."""
    from sklearn.utils.class_weight import compute_class_weight

    return _tensor(compute_class_weight("balanced", classes=np.arange(labels), y=classes))


def _perceptron(inputs: int, settings: MlpHead, outputs: int) -> nn.Sequential:
    sizes = [inputs, *settings.hidden]
    hidden = [
        layer
        for size, following in zip(sizes, settings.hidden, strict=False)
        for layer in (nn.Linear(size, following), nn.ReLU(), nn.Dropout(settings.dropout))
    ]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))


def _tensor(array: Any) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float32)
