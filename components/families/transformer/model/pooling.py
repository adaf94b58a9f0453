"""Pooling of token states to one vector per text. Padding is ignored."""

import torch
from torch import nn


class MeanPooling(nn.Module):
    """Mean over the tokens of a text (Reimers and Gurevych, Sentence-BERT, EMNLP 2019, section 3)."""

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the mean state of each text.

        Args:
            states: Token states (batch, tokens, hidden).
            attention_mask: 1 for tokens, 0 for padding (batch, tokens).

        Returns:
            Vectors (batch, hidden) in the dtype of ``states``; zeros for a row of padding only.
        """
        mask = attention_mask.bool().unsqueeze(-1)
        # The sum over a long text would overflow in half precision.
        total = states.masked_fill(~mask, 0).sum(dim=1, dtype=torch.float32)
        return (total / mask.sum(dim=1).clamp(min=1)).to(states.dtype)


class AttentionPooling(nn.Module):
    """Weighted mean over the tokens of a text, with the softmax of a learned linear score as weights.

    Lin et al., A Structured Self-Attentive Sentence Embedding (ICLR 2017), section 2.1, with one hop and no hidden
    layer. The initial weights give the plain mean. A bias would not change the softmax, so there is none.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.score = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean state of each text. See ``MeanPooling.forward`` for shapes and dtypes."""
        mask = attention_mask.bool().unsqueeze(-1)
        states = states.masked_fill(~mask, 0)
        scores = self.score(states).float().masked_fill(~mask, torch.finfo(torch.float32).min)
        weights = torch.softmax(scores, dim=1)
        return (weights * states).sum(dim=1).to(states.dtype)
