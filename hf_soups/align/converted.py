"""What transformers declares about the names of an architecture's tensors; imported only where names differ."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_soups.align.configs import config_of
from hf_soups.checkpoint import Checkpoint


@dataclass(frozen=True)
class Native:
    """The names of a model's own state dict.

    rules: renamings that transformers applies when it loads. tied: name → the name of the tensor that it is.
    """

    own: Mapping[str, Any]
    prefix: str
    rules: Sequence[Any]
    tied: Mapping[str, str]

    def name(self, stored: str) -> str | None:
        """What the model calls a tensor of a file; None if it has no place for it."""
        from transformers.core_model_loading import rename_source_key

        for rules in (self.rules, []):  # as transformers does: a rule may not be meant for what is a name already
            found: str = rename_source_key(stored, rules, [], self.prefix, dict(self.own))[0]
            if found in self.own:
                return found
        return None

    def tied_with(self, stored: str) -> list[str]:
        """All other names of the same tensor."""
        name = self.name(stored)
        root = self.tied.get(name, name) if name is not None else None
        return [n for n in self.own if n != name and self.tied.get(n, n) == root] if root is not None else []


def native_names(checkpoint: Checkpoint) -> Native | None:
    """Of the model that the config describes; None if transformers of this version has no such model."""
    content = checkpoint.assets.get("config.json")
    names = config_of(checkpoint).get("architectures")
    if content is None or not isinstance(names, list) or not names:
        return None
    import torch
    import transformers
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming

    try:
        kind = getattr(transformers, names[0])
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_bytes(content)
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            model = kind(config)
    except Exception:  # a config from elsewhere may make transformers raise anything: it then declares nothing
        return None
    rules = [rule for rule in get_model_conversion_mapping(model) if isinstance(rule, WeightRenaming)]
    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    return Native(model.state_dict(), model.base_model_prefix, rules, tied)
