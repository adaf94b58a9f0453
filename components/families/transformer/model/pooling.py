"""From the states of a text's tokens to one vector a text; padding has no part in it."""

import torch
from torch import nn


class MeanPooling(nn.Module):
    """The mean over a text's tokens (Reimers and Gurevych, Sentence-BERT, EMNLP 2019, section 3)."""

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """States (rows, tokens, hidden) and a mask (rows, tokens) of 1 and 0 to (rows, hidden) in the states' dtype.

        A row of nothing but padding gives zeros.
        """
        kept = attention_mask.bool().unsqueeze(-1)
        # Half precision would overflow in the sum of a long text.
        total = states.masked_fill(~kept, 0).sum(dim=1, dtype=torch.float32)
        return (total / kept.sum(dim=1).clamp(min=1)).to(states.dtype)


class AttentionPooling(nn.Module):
    """A mean over a text's tokens, each weighted by what a learned linear layer gives for its state.

    Lin et al., A Structured Self-Attentive Sentence Embedding (ICLR 2017), section 2.1, with one hop and no hidden
    layer. It starts as the plain mean. A bias would shift all scores alike, which the softmax does not see.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.score = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """States (rows, tokens, hidden) and a mask (rows, tokens) of 1 and 0 to (rows, hidden) in the states' dtype.

        A row of nothing but padding gives zeros.
        """
        kept = attention_mask.bool().unsqueeze(-1)
        states = states.masked_fill(~kept, 0)
        scores = self.score(states).float().masked_fill(~kept, torch.finfo(torch.float32).min)
        weights = torch.softmax(scores, dim=1)
        return (weights * states).sum(dim=1).to(states.dtype)
