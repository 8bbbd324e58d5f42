"""Random models of any head over the test tokenizer's words."""

from __future__ import annotations

from typing import Any

from .conftest import WORDS


def small_bert(head: str, seed: int = 0, **settings: Any) -> Any:
    """A random Bert with this head, such as "TokenClassification"; the same for the same seed."""
    import torch
    import transformers

    config = transformers.BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,  # so that inputs matter
        **settings,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, f"BertFor{head}")(config).eval()
