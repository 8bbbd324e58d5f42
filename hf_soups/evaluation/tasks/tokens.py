"""Texts as token ids: how all tasks on texts encode and pad them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError

if TYPE_CHECKING:
    import torch

Ids = Mapping[str, Sequence[int]]  # input_ids, attention_mask, … of one text


def encode(tokenizer: Any, inputs: Sequence[Any], longest: int | None) -> list[Ids]:
    """Token ids of texts or pairs; longer ones are cut."""
    sides = [list(inputs)] if isinstance(inputs[0], str) else [list(side) for side in zip(*inputs, strict=True)]
    encoded = tokenizer(*sides, truncation=longest is not None, max_length=longest)
    return [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]


def longest(model: Any, tokenizer: Any, asked: int | None) -> int | None:
    """Tokens that model and tokenizer can take, or fewer if asked for. None: no bound."""
    said = (tokenizer.model_max_length, getattr(getattr(model, "config", None), "max_position_embeddings", None) or -1)
    limits = [limit for limit in said if 0 < limit < 10**9]  # huge or -1: nobody knows, or there is none
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from there
            limits.append(module.num_embeddings - offset)
    most = min(limits, default=None)
    if asked is not None and most is not None and asked > most:
        raise EvaluationError(f"max_length is {asked}, but the model reads at most {most} tokens; lower it")
    return asked if asked is not None else most


def placed(tokenizer: Any, positions: Sequence[int], length: int) -> NDArray[np.int64]:
    """Where tokens of a text will be in a padded row; counted from its end if the padding comes first.

    positions: of the tokens among the `length` that the text has.
    """
    return np.array(positions, dtype=np.int64) - (length if tokenizer.padding_side == "left" else 0)


def check_aligns(tokenizer: Any, task: str) -> None:
    """EvaluationError if the tokenizer cannot say which words and characters its tokens are made of."""
    if not getattr(tokenizer, "is_fast", False):
        raise EvaluationError(
            f"{task} needs to know where in the text each token is, and {type(tokenizer).__name__} cannot say; "
            "give the models a tokenizer.json"
        )


def pad(tokenizer: Any, items: Sequence[Ids], width: int) -> dict[str, torch.Tensor]:
    """[rows, width] int64 of each key, padded on the tokenizer's side."""
    import torch

    if tokenizer.pad_token_id is None and any(len(item["input_ids"]) < width for item in items):
        raise EvaluationError(
            "the tokenizer has no padding token; set `tokenizer.pad_token` and `model.config.pad_token_id`, "
            "or use batch_size 1"
        )
    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    padded = {}
    for key in items[0]:
        rows = []
        for item in items:
            padding = [fill.get(key) or 0] * (width - len(item[key]))
            rows.append([*padding, *item[key]] if tokenizer.padding_side == "left" else [*item[key], *padding])
        padded[key] = torch.tensor(rows, dtype=torch.long)
    return padded
