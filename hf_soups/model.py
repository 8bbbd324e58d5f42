"""A checkpoint as the transformers model and tokenizer that its users will load."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_model(checkpoint: Checkpoint) -> PreTrainedModel:
    """The model in memory, float32, in evaluation mode, without writing its weights anywhere.

    Raises CheckpointError if the config names no class of transformers, or if a parameter would be left
    as initialised or a tensor unused.
    """
    model = _build(checkpoint)
    fill(model, checkpoint)
    return model


def fill(model: PreTrainedModel, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's tensors into a model by name, one at a time; every one of both must be met."""
    import torch

    where = checkpoint.origin.name
    own = model.state_dict()
    prefix = f"{model.base_model_prefix}."
    targets = {name: name if name in own else prefix + name for name in checkpoint.specs}
    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    unused = [name for name, target in targets.items() if target not in own]
    filled = set(targets.values())
    left = [name for name in own if name not in filled and name not in tied]
    if unused or left:
        raise CheckpointError(
            f"{where}: does not load as {type(model).__name__}: tensors without a place: {unused or 'none'}; "
            f"parameters without a tensor: {left or 'none'}"
        )
    with torch.no_grad():
        for name, target in targets.items():
            shape, expected = checkpoint.specs[name].shape, tuple(own[target].shape)
            if shape != expected:
                raise CheckpointError(f"{where}: {name} is {shape}, its config says {expected}")
            own[target].copy_(to_torch(checkpoint[name]))


def check_folder(folder: Path) -> None:
    """Load a written folder as its users will and run it once; CheckpointError unless all of it is finite.

    Only text models are run; others are loaded.
    """
    import torch
    import transformers

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = getattr(transformers, (config.get("architectures") or ["AutoModel"])[0])
    model, report = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    lost = {key: sorted(map(str, report[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(lost.values()):
        raise CheckpointError(f"the written soup does not load completely: {lost}")
    if "input_ids" not in model.forward.__code__.co_varnames:
        return
    with torch.inference_mode():
        output = model.eval()(input_ids=torch.arange(1, 9).reshape(2, 4))
    if not torch.isfinite(output[0]).all():
        raise CheckpointError("the written soup loads, but gives values that are not finite")


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """The tokenizer among the checkpoint's files; CheckpointError if there is none."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        write_assets(checkpoint, Path(folder))
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{checkpoint.origin.name}: no usable tokenizer: {error}") from error
    return tokenizer


def write_assets(checkpoint: Checkpoint, folder: Path) -> None:
    """Copy the files beside the weights into a folder."""
    for name in checkpoint.assets:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(checkpoint.assets[name])


def to_torch(array: np.ndarray) -> torch.Tensor:
    """The same values as a torch tensor; the memory is its own."""
    import torch

    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(np.array(array).view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def _build(checkpoint: Checkpoint) -> PreTrainedModel:
    import torch
    import transformers

    if "config.json" not in checkpoint.assets:
        raise CheckpointError(f"{checkpoint.origin.name}: no config.json, so it cannot be loaded as a model")
    content: dict[str, Any] = json.loads(checkpoint.assets["config.json"])
    names = content.get("architectures") or []
    kind = getattr(transformers, names[0], None) if names else None
    if kind is None:
        raise CheckpointError(
            f"{checkpoint.origin.name}: config.json names the architecture {names[0] if names else 'nothing'}, which "
            "transformers does not have"
        )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_bytes(checkpoint.assets["config.json"])
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    config.dtype = torch.float32
    model: PreTrainedModel = kind(config).to(torch.float32).eval()
    return model
