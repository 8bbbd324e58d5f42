"""What a language model loses on texts, as formulas of sums over rows: perplexity, loss a token, bits a byte."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.outputs import Ragged
from hf_soups.evaluation.scores import Array, ratio


def sums(outputs: Ragged, sizes: Sequence[int] | NDArray[np.int64]) -> Array:
    """[rows, 3]: sum of the losses of a row's tokens, in nats; how many; bytes (UTF-8) of what they spell.

    outputs: a loss [1] for each token; sizes: bytes of each row.
    """
    total = np.bincount(outputs.rows, weights=outputs.values[:, 0].astype(np.float64), minlength=len(outputs))
    return np.stack([total, outputs.lengths, np.asarray(sizes)], axis=1).astype(np.float64)


def per_token(sums: Array) -> Array:
    """Nats a token: every token counts the same, whatever the length of its text."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.full_like(sums[..., 0], np.nan), where=sums[..., 1] > 0)


def perplexity(sums: Array) -> Array:
    """exp of the loss a token. Between models of different tokenizers only bits a byte compare."""
    return np.exp(per_token(sums))


def bits_per_byte(sums: Array) -> Array:
    """Bits that the model needs for a byte of text: comparable between tokenizers."""
    return np.where(sums[..., 2] > 0, ratio(sums[..., 0], sums[..., 2]) / math.log(2), np.nan)
