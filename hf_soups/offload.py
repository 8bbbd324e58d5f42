"""Weights that are not on the device that runs them: in memory, or in files that go away."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Kept(Mapping[str, "torch.Tensor"]):
    """Tensors in memory, or in a folder that disappears with the last one who knows them.

    homes: name → "cpu" or "disk". same: name → the one that its tensor is kept under; tied tensors are kept once.
    """

    def __init__(self, homes: Mapping[str, str], same: Mapping[str, str]) -> None:
        self._homes, self._same = dict(homes), dict(same)
        self._memory: dict[str, torch.Tensor] = {}
        self._files: dict[str, tuple[Path, torch.Size, torch.dtype]] = {}
        self._numbers = count()
        self.folder = Path(tempfile.mkdtemp(prefix="hf-soups-offload-"))
        weakref.finalize(self, shutil.rmtree, self.folder, True)

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keep a tensor in place of the one before; nothing else stays of it."""
        import torch

        name = self._same[name]
        if self._homes[name] == "cpu" or not tensor.numel():
            self._memory[name] = tensor
            return
        file = self.folder / str(next(self._numbers))  # a new one, since the old may still be mapped
        tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tofile(file)
        if name in self._files:
            self._files[name][0].unlink()
        self._files[name] = (file, tensor.shape, tensor.dtype)

    def __getitem__(self, name: str) -> torch.Tensor:
        import torch

        known = self._same[name]
        if known in self._memory:
            return self._memory[known]
        file, shape, dtype = self._files[known]
        return torch.from_file(str(file), shared=False, size=shape.numel(), dtype=dtype).reshape(shape)

    def __contains__(self, name: object) -> bool:
        return name in self._same

    def __iter__(self) -> Iterator[str]:
        return iter(self._same)

    def __len__(self) -> int:
        return len(self._same)
