"""A real tokenizer of whole words, as models that write need it."""

from __future__ import annotations

from typing import Any

from .conftest import WORDS

SPECIAL = ("<unk>", "<s>", "</s>")
SIZE = len(SPECIAL) + 1 + len(WORDS)  # words and special tokens, padding included


def word_tokenizer(ends: bool = False) -> Any:
    """BOS, EOS and WORDS; ends: with EOS after every text and a token to pad with, as encoder-decoders have it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *WORDS, "<pad>"])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = dict(zip(("unk_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    if ends:
        inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
        special["pad_token"] = "<pad>"
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)
