"""A checkpoint as the transformers model and tokenizer that its users will load."""

from __future__ import annotations

import inspect
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Without one of these transformers invents a tokenizer.
TOKENIZER = "tokenizer.json vocab.txt vocab.json merges.txt *.model *.spm *.tiktoken".split()
IMAGE_PROCESSOR = ("preprocessor_config.json", "processor_config.json")
OTHER_INPUTS = ("pixel_values", "input_values", "input_features")  # of models that see or hear


def load_model(checkpoint: Checkpoint) -> PreTrainedModel:
    """The model in memory, float32, in evaluation mode, without writing its weights anywhere.

    Raises CheckpointError if the config names no class of transformers, or if a parameter would be left
    as initialised or a tensor unused.
    """
    model = build(checkpoint)
    fill(model, checkpoint)
    return model


def fill(model: PreTrainedModel, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's tensors into a model by name, one at a time; every one of both must be met."""
    fill_in(model, ((target, checkpoint[name]) for name, target in places(model, checkpoint).items()))


def fill_in(model: PreTrainedModel, tensors: Iterable[tuple[str, np.ndarray]]) -> None:
    """Put tensors into a model, each at its place in the state dict."""
    import torch

    own = model.state_dict()
    with torch.no_grad():
        for target, tensor in tensors:
            own[target].copy_(to_torch(tensor))


def places(model: PreTrainedModel, checkpoint: Checkpoint) -> dict[str, str]:
    """Each tensor of a checkpoint → its name in the model's state dict; modules beside the model have none.

    Raises CheckpointError if a tensor has no place there, or of another shape, or a place would stay empty.
    """
    where = checkpoint.origin.name
    own = model.state_dict()
    inside = [name for name in checkpoint.specs if not name.startswith(tuple(f"{m}/" for m in checkpoint.modules))]
    targets = _places(model, inside, own)
    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    unused = [name for name, target in targets.items() if target not in own]
    filled = set(targets.values())
    left = [name for name in own if name not in filled and name not in tied]
    if unused or left:
        raise CheckpointError(
            f"{where}: does not load as {type(model).__name__}: tensors without a place: {unused or 'none'}; "
            f"parameters without a tensor: {left or 'none'}"
        )
    for name, target in targets.items():
        shape, expected = checkpoint.specs[name].shape, tuple(own[target].shape)
        if shape != expected:
            raise CheckpointError(f"{where}: {name} is {shape}, its config says {expected}")
    return targets


def _places(model: PreTrainedModel, names: Iterable[str], own: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Tensor → its place in the model: the same name, one below the model's prefix, or where transformers moved it.

    Newer classes (ViT's) call their parts otherwise than the files that they read and write.
    """
    prefix = f"{model.base_model_prefix}."
    places = {name: name if name in own else prefix + name for name in names}
    if all(place in own for place in places.values()):
        return places
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    rules = [rule for rule in get_model_conversion_mapping(model) if isinstance(rule, WeightRenaming)]
    return {name: rename_source_key(name, rules, [], model.base_model_prefix, own)[0] for name in places}


def check_folder(folder: Path) -> None:
    """Load a written folder as its users will and run it once; CheckpointError unless all of it is finite.

    Only text models are run; others are loaded.
    """
    where = "the written soup"
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{where} has no config.json, so it cannot be checked by loading")
    names = _architectures(file.read_bytes(), where)
    with _said_of(where, folder), _no_bars():
        kind = _class(names or ["AutoModel"], where)
        model, report = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    lost = {key: sorted(map(str, report[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(lost.values()):
        raise CheckpointError(f"{where} does not load completely: {lost}")
    with _said_of(where, folder):
        finite = _gives_finite(model.eval())
    if not finite:
        raise CheckpointError(f"{where} loads, but gives values that are not finite")


def _gives_finite(model: PreTrainedModel) -> bool:
    """Run a text model on a few small token ids; True for what is no text model."""
    import torch

    parameters = inspect.signature(model.forward).parameters
    if "input_ids" not in parameters or any(name in parameters for name in OTHER_INPUTS):
        return True
    size = model.get_input_embeddings().weight.shape[0]
    end = getattr(model.config, "eos_token_id", None)  # where the sequence classifiers of BART and T5 look
    last = end if isinstance(end, int) and 0 <= end < size else 8 % size
    ids = torch.tensor([[*(n % size for n in range(1, 8)), last]])  # one row: a batch may need a padding token
    if type(model).__name__.endswith("ForMultipleChoice"):
        ids = ids[None]
    inputs = {name: ids for name in ("input_ids", "decoder_input_ids") if name in parameters}
    with torch.inference_mode():
        output = model(**inputs)
    values = [v for v in output.values() if isinstance(v, torch.Tensor) and v.is_floating_point()]
    return all(bool(torch.isfinite(v).all()) for v in values)


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """The tokenizer among the checkpoint's files; CheckpointError if there is none."""
    from transformers import AutoTokenizer

    if not any(fnmatchcase(name, pattern) for name in checkpoint.assets for pattern in TOKENIZER):
        raise CheckpointError(f"{checkpoint.origin.name}: no tokenizer files; add those that it was trained with")
    with tempfile.TemporaryDirectory() as folder:
        write_assets(checkpoint, Path(folder))
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{checkpoint.origin.name}: no usable tokenizer: {error}") from error
    return tokenizer


def load_feature_extractor(checkpoint: Checkpoint) -> Any:
    """What turns sound into a model's inputs, from the checkpoint's files; CheckpointError if there is none."""
    from transformers import AutoFeatureExtractor

    where = checkpoint.origin.name
    if not {"preprocessor_config.json", "processor_config.json"} & set(checkpoint.assets):
        raise CheckpointError(f"{where}: no preprocessor_config.json; add the one that it was trained with")
    with tempfile.TemporaryDirectory() as name, _said_of(where, Path(name)):
        write_assets(checkpoint, Path(name))
        return AutoFeatureExtractor.from_pretrained(name, trust_remote_code=False)


def load_image_processor(checkpoint: Checkpoint) -> Any:
    """The image processor among the checkpoint's files, with PIL's arithmetic; CheckpointError if there is none."""
    from transformers import AutoImageProcessor

    where = checkpoint.origin.name
    if not any(name in checkpoint.assets for name in IMAGE_PROCESSOR):
        raise CheckpointError(
            f"{where}: no image processor files ({' or '.join(IMAGE_PROCESSOR)}); add those that it was trained with"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_assets(checkpoint, folder)
        with _said_of(where, folder):
            # torchvision rounds pixels otherwise, and is not on every machine
            return AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)


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


def build(checkpoint: Checkpoint) -> PreTrainedModel:
    """The model that a checkpoint's config describes, as initialised, float32, in evaluation mode."""
    import torch
    import transformers

    where = checkpoint.origin.name
    if "config.json" not in checkpoint.assets:
        raise CheckpointError(f"{where}: no config.json, so it cannot be loaded as a model")
    content = checkpoint.assets["config.json"]
    kind = _class(_architectures(content, where), where)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_bytes(content)
        with _said_of(where, folder):
            config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
            config.dtype = torch.float32
            model: PreTrainedModel = kind(config).to(torch.float32).eval()
            if "generation_config.json" in checkpoint.assets and model.can_generate():
                (folder / "generation_config.json").write_bytes(checkpoint.assets["generation_config.json"])
                model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return model


def _architectures(config: bytes, where: str) -> list[str]:
    """The class names in a config.json; CheckpointError if it is not one."""
    try:
        names = json.loads(config).get("architectures") or []
        return [name for name in names if isinstance(name, str)]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{where}: config.json is not the config of a model: {error}") from error


def _class(names: Sequence[str], where: str) -> Any:
    import transformers

    kind = getattr(transformers, names[0], None) if names else None
    if not hasattr(kind, "from_pretrained"):
        raise CheckpointError(
            f"{where}: config.json names the architecture {names[0] if names else 'nothing'}, which "
            "transformers does not have"
        )
    return kind


@contextmanager
def _said_of(where: str, folder: Path) -> Iterator[None]:
    """What transformers cannot do with a folder as a CheckpointError that names the model, not the folder."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        yield
    except (
        OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ImportError,
        StrictDataclassError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).replace(str(folder), "its folder").split())
        raise CheckpointError(f"{where}: does not work in transformers: {reason or type(error).__name__}") from error


@contextmanager
def _no_bars() -> Iterator[None]:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging

    were_on, hub_were_off = logging.is_progress_bar_enabled(), are_progress_bars_disabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_on:
            logging.enable_progress_bar()
        if hub_were_off:
            disable_progress_bars()
