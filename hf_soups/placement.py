"""Where a model's weights lie while it runs: on one device, or over GPUs, memory and disk if they do not fit there."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_soups.checkpoint import Checkpoint, check_room
from hf_soups.errors import CheckpointError
from hf_soups.model import build, fill, load_model, places, to_torch
from hf_soups.offload import Kept

if TYPE_CHECKING:
    import torch

Memory = Mapping[Any, int | str]  # accelerate's: {0: "20GB", "cpu": "60GB"}

SHARE = 0.8  # of what is free, for weights; the rest is for activations, whose batches shrink where it is too little


@dataclass(eq=False)
class Placed:
    """A model in evaluation mode, and what of it lies elsewhere than on the device that runs it.

    kept: None for a model that is on one device, or will be moved there whole.
    """

    model: Any
    kept: Kept | None = None

    def fill(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint's tensors where the model's are, one at a time; see `hf_soups.model.fill`."""
        if self.kept is None:
            fill(self.model, checkpoint)
        else:
            _pour(self.model, self.kept, checkpoint)


def place(checkpoint: Checkpoint, dtype: str = "float32", max_memory: Memory | None = None) -> Placed:
    """A checkpoint as a model that is ready to be run in `dtype`, wherever there is room for it.

    max_memory: bytes (`"20GB"`) that weights may take on each GPU (0, 1, …) and in memory ("cpu"); what is left out is
        not used. Default: most of what is free everywhere. The rest of the model goes to a folder, on disk.
    A model that fits on one device is built in memory, in float32, and is moved there when it is run. Any other runs
    layer by layer on the first device, and must not be moved or cast: see `is_dispatched`.
    Raises CheckpointError if a layer does not fit on the first device, or the rest not on the disk.
    """
    memory = _memory(max_memory)
    if _fits(checkpoint, dtype, memory):
        return Placed(load_model(checkpoint))
    placed = _dispatch(checkpoint, dtype, memory)
    placed.fill(checkpoint)
    return placed


def share_of_host(place: int, count: int) -> Memory | None:
    """What one of several processes of a host may take: a GPU of its own, and its part of the memory.

    place: its number among them, of `count`. None where there is no GPU: there all processes run their models as one.
    """
    import torch
    from accelerate.utils import get_max_memory

    if not torch.cuda.is_available():
        return None
    free, gpu = get_max_memory(), place % torch.cuda.device_count()
    return {gpu: int(SHARE * free[gpu]), "cpu": int(SHARE * free["cpu"] / count)}


def is_dispatched(model: Any) -> bool:
    """Whether hooks bring a model's weights to where they are used, so that it must stay as it is."""
    return getattr(model, "_hf_hook", None) is not None


def device_of(model: Any) -> torch.device:
    """Where a model wants its inputs."""
    import torch

    if is_dispatched(model):
        return torch.device(model._hf_hook.execution_device)
    found: torch.device = next(model.parameters()).device
    return found


def _memory(asked: Memory | None) -> dict[int | str, int]:
    """Bytes for weights by device, the one that runs the model first."""
    from accelerate.utils import get_max_memory

    free = get_max_memory()
    if asked is None:
        return {device: int(SHARE * size) for device, size in free.items()}
    if unknown := [device for device in asked if device not in (*free, "cpu")]:
        raise CheckpointError(f"max_memory: no device {unknown[0]!r}; there are {', '.join(map(repr, free))}")
    try:
        found: dict[int | str, int] = get_max_memory(dict(asked))
    except ValueError as error:
        raise CheckpointError(f"max_memory: {dict(asked)}: {error}") from error
    return found


def _fits(checkpoint: Checkpoint, dtype: str, memory: Mapping[int | str, int]) -> bool:
    """Whether one device holds the whole model as `evaluation.predict.ready` runs it, and memory as it is built."""
    specs = [spec for name, spec in checkpoint.specs.items() if name not in checkpoint.aliases]
    whole = sum(spec.size * (4 if spec.is_float else spec.dtype.itemsize) for spec in specs)
    cast = 0 if dtype == "float32" else whole // 2  # beside the float32 numbers, which come back afterwards
    return whole + cast <= memory[next(iter(memory))] and whole <= memory.get("cpu", whole)


def _dispatch(checkpoint: Checkpoint, dtype: str, memory: Mapping[int | str, int]) -> Placed:
    """An empty model that accelerate's hooks run, and where what is not on its device will be."""
    import torch
    from accelerate import dispatch_model, init_empty_weights
    from accelerate.utils import find_tied_parameters, retie_parameters, set_module_tensor_to_device

    with init_empty_weights(include_buffers=False):
        model = build(checkpoint)
    model.to(getattr(torch, dtype))
    model.tie_weights()
    main = next(iter(memory))
    whole = list(model._no_split_modules or ())
    _check_layers(model, whole, main, memory[main], checkpoint.origin.name)
    modules = dict(model.named_modules())
    groups = find_tied_parameters(model)
    mapped = _map(model, memory, whole, groups)
    # a tensor of a module that is cut has no hook that would fetch it
    mapped = {name: device if name in modules else main for name, device in mapped.items()}
    away = ("disk",) if main in ("cpu", "mps") else ("cpu", "disk")
    homes, same = {}, {}
    for name, parameter in model.named_parameters():
        group = next((g for g in groups if name in g), [name])
        found = [home for one in group if (home := _home(one, mapped)) in away]
        if found:
            homes[name] = str(found[0])
            same.update(dict.fromkeys(group, name))
        if len(found) < len(group):
            home = next(home for one in group if (home := _home(one, mapped)) not in away)
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device=home)
            set_module_tensor_to_device(model, name, home, value=empty)
    retie_parameters(model, groups)
    for name, buffer in model.named_buffers():
        if name in mapped:
            set_module_tensor_to_device(model, name, main, value=buffer)
    sizes = {name: p.numel() * p.element_size() for name, p in model.named_parameters()}
    kept = Kept(homes, same)
    check_room(kept.folder, sum(sizes[name] for name, home in homes.items() if home == "disk"))
    with _quiet():
        dispatch_model(
            model, mapped, main_device=main, state_dict=kept, offload_index={},
            skip_keys=model._skip_keys_device_placement,
        )  # fmt: skip
    return Placed(model, kept)


def _map(
    model: Any, memory: Mapping[int | str, int], whole: Sequence[str], groups: Sequence[Sequence[str]]
) -> dict[str, int | str]:
    """Part of the model → where it lies: on the first device that has room, in the order of `memory`, else on disk."""
    import torch
    from accelerate import infer_auto_device_map

    given = {"max_memory": dict(memory), "no_split_module_classes": list(whole)}
    with _quiet():
        try:
            return dict(infer_auto_device_map(model, **given))
        except IndexError:  # accelerate's, where a part is tied to one that has its place already
            for name in (name for group in groups for name in group[1:]):
                owner, _, leaf = name.rpartition(".")
                parameter = model.get_parameter(name)
                setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(torch.empty_like(parameter)))
            found = dict(infer_auto_device_map(model, **given))
            model.tie_weights()
            return found


def _pour(model: Any, kept: Kept, checkpoint: Checkpoint) -> None:
    import torch

    own = model.state_dict()
    with torch.no_grad():
        for name, target in places(model, checkpoint).items():
            tensor = to_torch(checkpoint[name])
            if target in kept:
                kept.put(target, tensor.to(own[target].dtype))
            if not own[target].is_meta:
                own[target].copy_(tensor)


def _check_layers(model: Any, whole: Sequence[str], main: int | str, room: int, where: str) -> None:
    """CheckpointError unless every layer fits on the device that runs it."""
    from accelerate.utils import compute_module_sizes
    from accelerate.utils.modeling import get_max_layer_size

    size, names = get_max_layer_size(list(model.named_children()), compute_module_sizes(model), list(whole))
    if size > room:
        raise CheckpointError(
            f"{where}: {names[0]} takes {size:,} bytes, and device {main} has {room:,} for weights; a layer has to fit "
            "there whole: free memory, raise max_memory, or evaluate in dtype: bfloat16"
        )


def _home(name: str, mapped: Mapping[str, int | str]) -> int | str:
    """Where the part of a model that a tensor belongs to is mapped."""
    while name not in mapped:
        name = name.rpartition(".")[0]
    return mapped[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without accelerate's warnings of parameters that are elsewhere, or have a place of their own: it is meant so."""
    logger = logging.getLogger("accelerate")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The following device_map keys do not match any submodules")
            yield
    finally:
        logger.setLevel(before)
