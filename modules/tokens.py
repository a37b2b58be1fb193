"""Anomaly tokens: a few learned vectors per (object, type) in the base's conditioning space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import Refused

COUNT = 8  # the papers'; the code they released uses 4

Type = tuple[str, str]  # (object, type)


class AnomalyTokens(nn.Module):
    """k vectors per type (FAST, Sec. 3.1), appended to the conditioning of any base that takes a sequence."""

    def __init__(self, types: Sequence[Type], channels: int, count: int = COUNT):
        """
        Args:
            types: (object, type), each once; their order is the rows' order.
            channels: length of a vector of the base's conditioning.
            count: k.

        Raises:
            Refused: no type, one twice, or a size below 1.
        """
        super().__init__()
        if not types or len(set(types)) < len(types) or min(channels, count) < 1:
            raise Refused(
                "anomaly tokens",
                f"{len(types)} types ({len(set(types))} different), {count} tokens of {channels} channels",
                "at least one type, each once, and sizes from 1",
            )
        self.types = tuple((object, type) for object, type in types)
        self.rows = nn.Parameter(torch.randn(len(types), count, channels))

    @torch.no_grad()
    def begin_as(self, context: Tensor) -> None:
        """Take the base's own conditioning of every type, [types, n, d], its tokens over and over, as a start.

        Attention is a mean: a sequence that is repeated as a whole (k a multiple of n) changes nothing, so that the
        base answers as it did until the tokens have learned something. Random vectors draw attention away from what
        the base knows of the type, and a training of a thousand steps hardly moves them. Types that share one text get
        a tenth of its spread as noise, so that FARM can distinguish them.
        """
        context, count = context.to(self.rows), self.rows.shape[1]
        equal = len(context) > 1 and bool((context == context[:1]).all())
        start = context[:, torch.arange(count, device=context.device) % context.shape[1]]
        self.rows.copy_(start + 0.1 * equal * context.std() * torch.randn_like(self.rows))

    def row(self, object: str, type: str) -> int:
        """The type's row. Raises Refused with the known types where it was not trained."""
        if (object, type) not in self.types:
            known = ", ".join("/".join(one) for one in self.types)
            raise Refused(f"{object}/{type}", f"it is not in the adapter, which has {known}")
        return self.types.index((object, type))

    def forward(self, rows: Sequence[int] | Tensor) -> Tensor:
        """[B, k, d] of a row per item."""
        return self.rows[torch.as_tensor(rows, device=self.rows.device)]

    def appended(self, context: Tensor, rows: Sequence[int] | Tensor) -> Tensor:
        """The conditioning [B, n, d] with each item's tokens after it, [B, n + k, d]."""
        return torch.cat([context, self(rows).to(context)], dim=1)


def of_length(context: Tensor, length: int) -> Tensor:
    """The conditioning [B, n, d] with its last token repeated up to `length`.

    Conditional and unconditional sequences of one length run in one batch; a repeated token adds nothing new to attend
    to. A longer one stays.
    """
    missing = length - context.shape[1]
    return context if missing <= 0 else torch.cat([context, context[:, -1:].expand(-1, missing, -1)], dim=1)
