"""What a method's page meets when it is called with torch tensors: sums in order, and the host's random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from hf_soups.engine.draws import chances

LOW = 0xFFFFFFFF


class InOrder(TorchFunctionMode):
    """Inside, floats are summed (and averaged) along the first axis one after the other, as NumPy does.

    torch's own sum takes an order that depends on how many columns there are, so on how a tensor is cut.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in (torch.sum, torch.Tensor.sum, torch.mean, torch.Tensor.mean) and args:
            values, *rest = args
            axis = rest[0] if rest else named.get("dim", named.get("axis"))
            keep = rest[1] if len(rest) > 1 else named.get("keepdim", False)
            if axis in (0, (0,), [0]) and values.ndim > 1 and values.is_floating_point() and len(values):
                total = values[0].clone()
                for row in values[1:]:
                    total += row
                if func in (torch.mean, torch.Tensor.mean):
                    total /= len(values)
                return total[None] if keep else total
        return func(*args, **named)


@dataclass(frozen=True)
class TorchDraws:
    """As `HostDraws`, the same draws."""

    keys: np.ndarray
    size: int
    start: int
    stop: int
    dtype: torch.dtype
    device: torch.device

    def dropout(self, density: Any) -> torch.Tensor:
        """As `method.Draws.dropout`."""
        shares = density.cpu().numpy() if isinstance(density, torch.Tensor) else density
        chance, factor = chances(np.broadcast_to(shares, (len(self.keys), 1)), self.size)
        out = torch.empty((len(self.keys), self.stop - self.start), dtype=self.dtype, device=self.device)
        for row, key, limit, lifted in zip(out, self.keys, chance.tolist(), factor.tolist(), strict=True):
            row.fill_(lifted)
            if limit < 1 << 32:
                row[bits(key, self.start, len(row), self.device) >= limit] = 0
        return out


def bits(key: np.ndarray, start: int, size: int, device: torch.device) -> torch.Tensor:
    """As `kernels.plain.bits`, in int64: products beyond 63 bits wrap, and their bits are the unsigned ones'."""
    first, last = start // 1024, (start + size + 1023) // 1024
    counter = torch.arange(first * 256, last * 256, dtype=torch.int64, device=device)
    k0, k1, c2_begin, c3_begin = (int(k) for k in key)
    c0, c1 = counter & LOW, counter >> 32
    c2, c3 = torch.full_like(counter, c2_begin), torch.full_like(counter, c3_begin)
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = ((p1 >> 32) & LOW) ^ c1 ^ k0, p1 & LOW, ((p0 >> 32) & LOW) ^ c3 ^ k1, p0 & LOW
        k0, k1 = (k0 + 0x9E3779B9) & LOW, (k1 + 0xBB67AE85) & LOW
    words = torch.stack([c.reshape(-1, 256) for c in (c0, c1, c2, c3)], dim=1)  # [groups, 4, 256]
    return words.reshape(-1)[start - first * 1024 :][:size]
