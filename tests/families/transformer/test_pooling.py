import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from textgate.components.families.transformer.model.pooling import AttentionPooling, MeanPooling

LENGTHS = [5, 1, 3, 0]


def mask() -> torch.Tensor:
    return (torch.arange(5) < torch.tensor(LENGTHS)[:, None]).long()


def states(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0)).to(dtype)


def trained() -> AttentionPooling:
    pooling = AttentionPooling(8)
    nn.init.normal_(pooling.score.weight, generator=torch.Generator().manual_seed(1))
    return pooling


def test_the_mean_ignores_padding() -> None:
    pooled = MeanPooling()(states(), mask())
    for row, length in enumerate(LENGTHS[:3]):
        torch.testing.assert_close(pooled[row], states()[row, :length].mean(dim=0))


def test_initial_attention_weights_give_the_mean() -> None:
    torch.testing.assert_close(AttentionPooling(8)(states(), mask()), MeanPooling()(states(), mask()))


def test_attention_weights_tokens_by_the_softmax_of_their_scores() -> None:
    pooling = trained()
    pooled = pooling(states(), mask())
    for row, length in enumerate(LENGTHS[:3]):
        tokens = states()[row, :length]
        weights = torch.exp(tokens @ pooling.score.weight[0])
        torch.testing.assert_close(pooled[row], (weights / weights.sum()) @ tokens)


@pytest.mark.parametrize("pooling", [MeanPooling(), trained()], ids=["mean", "attention"])
@pytest.mark.parametrize("padding", [0.0, 1e4, float("nan"), float("inf")])
def test_values_in_the_padding_do_not_matter(pooling: nn.Module, padding: float) -> None:
    filled = states().masked_fill(mask()[..., None] == 0, padding).requires_grad_()
    pooled = pooling(filled, mask())
    torch.testing.assert_close(pooled[:3], pooling(states(), mask())[:3])
    assert torch.equal(pooled[3], torch.zeros(8))
    pooled.sum().backward()
    assert filled.grad is not None
    assert torch.isfinite(filled.grad).all()


@pytest.mark.parametrize("pooling", [MeanPooling(), trained()], ids=["mean", "attention"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_long_text_does_not_overflow_in_half_precision(pooling: nn.Module, dtype: torch.dtype) -> None:
    long = torch.full((1, 4096, 8), 100.0, dtype=dtype)
    pooled = pooling.to(dtype)(long, torch.ones(1, 4096, dtype=torch.long))
    pooling.float()
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, long[:, 0])


def test_attention_exports_to_onnx() -> None:
    rows, tokens = torch.export.Dim("rows"), torch.export.Dim("tokens")
    example = (states()[:2], mask()[:2])
    shapes = ({0: rows, 1: tokens}, {0: rows, 1: tokens})
    program = torch.onnx.export(trained().eval(), example, dynamic_shapes=shapes, dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    feeds = {entry.name: value.numpy() for entry, value in zip(session.get_inputs(), (states(), mask()), strict=True)}
    (pooled,) = session.run(None, feeds)
    np.testing.assert_allclose(pooled, trained()(states(), mask()).detach().numpy(), atol=1e-6)
