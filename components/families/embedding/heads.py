"""What is fitted on frozen embeddings, as torch modules of plain tensors.

Each takes embeddings (rows, dimensions) float32 and gives logits (rows, labels), whose softmax are the probabilities.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from textgate.components.contracts import LogisticHead, MlpHead, Progress, SvmHead
from textgate.components.metrics import f1

Tensors = dict[str, torch.Tensor]

_LAYERS_A_SIZE = 3
"""Of a perceptron's hidden sizes each is a linear layer, ReLU and dropout."""


@dataclass(frozen=True)
class Embedded:
    """The texts of one split: embeddings (texts, dimensions) float64 and class numbers (texts,)."""

    embeddings: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]


class RbfSvm(nn.Module):
    """Support vector machines with a radial basis kernel, each a class against the rest, and a regression over them."""

    centre: torch.Tensor
    """(dimensions,) taken from every embedding: distances stay, and lose fewer digits in float32."""
    support: torch.Tensor
    """(vectors, dimensions) less the centre, of all machines together."""
    coefficients: torch.Tensor
    """(machines, vectors) float64, 0 where a vector supports other machines only."""
    intercepts: torch.Tensor
    """(machines,) float64."""
    gamma: torch.Tensor
    """() width of the kernel exp(-gamma * squared distance)."""
    slopes: torch.Tensor
    """(labels, machines), of the regression from margins to logits."""
    offsets: torch.Tensor
    """(labels,)."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def margins(self, embeddings: torch.Tensor) -> torch.Tensor:
        """What scikit-learn calls the decision function, (rows, machines)."""
        embeddings = embeddings - self.centre
        lengths = embeddings.square().sum(dim=1, keepdim=True) + self.support.square().sum(dim=1)
        distances = (lengths - 2 * embeddings @ self.support.T).clamp(min=0)
        kernel = torch.exp(-self.gamma * distances)
        # Thousands of terms of either sign: a sum in float32 would keep four digits, and depend on the batch.
        return linear(kernel.double(), self.coefficients, self.intercepts).float()

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return linear(self.margins(embeddings), self.slopes, self.offsets)


def fit_head(
    settings: LogisticHead | SvmHead | MlpHead, train: Embedded, validation: Embedded, labels: int
) -> tuple[nn.Module, list[dict[str, float]]]:
    """The head that ``settings`` ask for, and its history (``ModelBundle.history``).

    Every label must occur in both splits.
    """
    print(f"fitting the {settings.kind} head on {len(train.classes):,} embeddings", flush=True)
    history: list[dict[str, float]] = []
    match settings:
        case LogisticHead():
            tensors = _fit_logistic(settings, train)
        case SvmHead():
            tensors = _fit_svm(settings, train, validation, labels)
        case MlpHead():
            tensors, history = _fit_mlp(settings, train, validation, labels)
    return load_head(settings, tensors), history


def load_head(settings: LogisticHead | SvmHead | MlpHead, tensors: Tensors) -> nn.Module:
    """The head of a ``state_dict``."""
    match settings:
        case LogisticHead():
            outputs, inputs = tensors["weight"].shape
            head: nn.Module = nn.Linear(inputs, outputs)
        case SvmHead():
            head = RbfSvm(**tensors)
        case MlpHead():
            last = _LAYERS_A_SIZE * len(settings.hidden)
            head = _perceptron(tensors["0.weight"].shape[1], settings, tensors[f"{last}.weight"].shape[0])
    head.load_state_dict(tensors)
    return head.eval()


def _fit_logistic(settings: LogisticHead, train: Embedded) -> Tensors:
    from sklearn.linear_model import LogisticRegression

    # As published, not standardised: on MiniLM's embeddings of film reviews and of news that moved F1 by under .006, to
    # either side.
    model = LogisticRegression(C=settings.C, max_iter=settings.max_iterations)
    weight, bias = _layer(model.fit(train.embeddings, train.classes))
    return {"weight": weight, "bias": bias}


def _fit_svm(settings: SvmHead, train: Embedded, validation: Embedded, labels: int) -> Tensors:
    """Machines on the split ``train``, their margins turned into probabilities on ``validation``.

    Platt, Probabilistic Outputs for Support Vector Machines (1999): on texts the machines were not fitted to, since the
    margins of those they were fitted to are too large.
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
        model = SVC(C=settings.C, gamma=gamma).fit(train.embeddings, train.classes == positive)
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
    slopes, offsets = _layer(LogisticRegression().fit(margins, validation.classes))
    return {**machines, "slopes": slopes, "offsets": offsets}


def _layer(regression: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (labels, features) and bias (labels,) of a fitted logistic regression."""
    weights, bias = regression.coef_, regression.intercept_
    if len(weights) == 1:
        # Two classes: softmax over (0, z) is the sigmoid of z.
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
    return _tensor(weights), _tensor(bias)


def _fit_mlp(
    settings: MlpHead, train: Embedded, validation: Embedded, labels: int
) -> tuple[Tensors, list[dict[str, float]]]:
    """Weights after the epoch with the best F1 on ``validation``, and every epoch. Draws from torch's own generator."""
    model = _perceptron(train.embeddings.shape[1], settings, labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    inputs, classes, held_out = _tensor(train.embeddings), torch.tensor(train.classes), _tensor(validation.embeddings)
    progress = Progress(total=settings.epochs * len(classes))
    best, weights = -1.0, model.state_dict()
    history = []
    for epoch in range(1, settings.epochs + 1):
        model.train()
        total = 0.0
        for rows in torch.split(torch.randperm(len(classes)), settings.batch_size):
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs[rows]), classes[rows])
            torch.autograd.backward(loss)
            optimizer.step()
            total += loss.item() * len(rows)
        with torch.inference_mode():
            score = f1(validation.classes, model.eval()(held_out).argmax(dim=1).numpy(), labels)
        mean = total / len(classes)
        history.append({"epoch": epoch, "loss": round(mean, 6), "validation_f1": round(score, 6)})
        if score > best:
            best, weights = score, deepcopy(model.state_dict())
        note = f"epoch {epoch} of {settings.epochs}, loss {mean:.3f}, validation F1 {score:.4f}, best {best:.4f}"
        progress.update(epoch * len(classes), note)
    return weights, history


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
