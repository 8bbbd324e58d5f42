"""Texts as vectors: the encoder's tokens pooled as sentence-transformers' files say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.tasks import tokens

if TYPE_CHECKING:
    import torch

    from hf_soups.checkpoint import Checkpoint

Pooling = Literal["mean", "cls"]
_MODULES = ("Transformer", "Pooling", "Normalize")  # a cosine is the same with and without the last
_FLAGS: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True)
class Reader:
    """What turns texts into tokens, and how the tokens' vectors become one.

    longest: tokens that the encoder was trained on; None: what tokenizer and model can take.
    """

    tokenizer: Any
    pooling: Pooling = "mean"
    longest: int | None = None

    def encode(self, model: Any, texts: Sequence[str], max_length: int | None) -> list[tokens.Ids]:
        """Token ids of texts, longer ones cut."""
        longest = tokens.longest(model, self.tokenizer, self.longest if max_length is None else max_length)
        return tokens.encode(self.tokenizer, texts, longest)

    def pad(self, items: Sequence[tokens.Ids], width: int) -> dict[str, torch.Tensor]:
        """[texts, width] of each key."""
        return tokens.pad(self.tokenizer, items, width)

    def vectors(self, model: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """[texts, width] of length 1, so that products are cosines."""
        import torch

        states = getattr(model(**inputs), "last_hidden_state", None)  # [texts, tokens, width]
        if states is None:
            raise EvaluationError(f"{type(model).__name__} gives no hidden states; load the model as an encoder")
        if self.pooling == "cls":
            pooled = states[:, 0]
        else:
            mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
            pooled = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return torch.nn.functional.normalize(pooled.float(), dim=-1)


def reader(checkpoint: Checkpoint) -> Reader:
    """From modules.json, the pooling's config and sentence_bert_config.json; without them the mean over all tokens.

    Raises EvaluationError for a pooling that is neither mean nor CLS, and for layers after it.
    """
    from hf_soups.model import load_tokenizer

    where = checkpoint.origin.name
    modules = _json(checkpoint, "modules.json") or []
    pooling: Pooling = "mean"
    for module in modules:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind not in _MODULES:
            raise EvaluationError(f"{where}: modules.json: sentences go through {kind}, which is not supported")
        if kind == "Pooling":
            pooling = _pooling(_json(checkpoint, f"{module.get('path', '')}/config.json") or {}, where)
    settings = _json(checkpoint, "config_sentence_transformers.json") or {}
    if settings.get("default_prompt_name"):
        raise EvaluationError(
            f"{where}: config_sentence_transformers.json sets a prompt before every text, which is not supported; "
            "write it into the texts and take default_prompt_name out"
        )
    longest = (_json(checkpoint, "sentence_bert_config.json") or {}).get("max_seq_length")
    return Reader(load_tokenizer(checkpoint), pooling, longest)


def _pooling(config: Mapping[str, Any], where: str) -> Pooling:
    flags = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    mode = config.get("pooling_mode") or [_FLAGS.get(name, name.removeprefix("pooling_mode_")) for name in flags]
    said = [mode] if isinstance(mode, str) else list(mode)
    if said == ["mean"]:
        return "mean"
    if said == ["cls"]:
        return "cls"
    raise EvaluationError(
        f"{where}: tokens are pooled by {' and '.join(map(str, said)) or 'nothing'}; mean or cls is supported"
    )


def _json(checkpoint: Checkpoint, name: str) -> Any:
    if name not in checkpoint.assets:
        return None
    try:
        return json.loads(checkpoint.assets[name])
    except ValueError as error:
        raise EvaluationError(f"{checkpoint.origin.name}: {name} is not valid JSON: {error}") from error
