"""How models write: the checkpoint's generation config, greedy or with beams, never sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hf_soups.errors import EvaluationError

if TYPE_CHECKING:
    import torch

LONGEST = 128  # new tokens where neither recipe nor checkpoint says how many: more than most summaries have
_OF_SAMPLING = "temperature top_k top_p min_p typical_p epsilon_cutoff eta_cutoff".split()

Decode = Callable[[Any], str]  # token ids of one answer → text


def generate(
    model: Any, inputs: Mapping[str, torch.Tensor], decodes: Sequence[Decode], most: int | None, beams: int | None
) -> list[str]:
    """A text for each row.

    decodes: for each row; most: new tokens of an answer, beams: of the search; None: as the generation config says.
    """
    config = deepcopy(model.generation_config)
    config.do_sample = False
    for name in _OF_SAMPLING:
        setattr(config, name, None)
    if beams is not None:
        config.num_beams = beams
    if most is not None or (config.max_new_tokens is None and config.max_length is None):
        config.max_new_tokens, config.max_length = LONGEST if most is None else most, None
    written = model.generate(**inputs, generation_config=config)
    sequences = getattr(written, "sequences", written)  # [rows, tokens], or more where a config asks for them
    return [decode(ids).strip() for decode, ids in zip(decodes, sequences.cpu().tolist(), strict=True)]


def decoder(tokenizer: Any) -> Decode:
    """Token ids as text, without special tokens."""

    def decode(ids: Any) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True))

    return decode


def positive(name: str, value: int | None) -> int | None:
    """A whole number of at least 1 from a recipe's options, or None."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise EvaluationError(f"evaluate: options: {name} is {value!r}; it must be a whole number of at least 1")
    return value
