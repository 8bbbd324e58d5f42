"""Safetensors files written from the plan: header first, then each range at its place."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hf_soups.checkpoint import header
from hf_soups.checkpoint.base import Spec
from hf_soups.checkpoint.folder import write_text
from hf_soups.errors import CheckpointError

METADATA = {"format": "pt"}  # transformers refuses files without it


def layout(specs: Mapping[str, Spec], max_shard_size: int, stem: str = "model") -> dict[str, dict[str, Spec]]:
    """File name → its tensors, in order; a file is closed before the tensor that would overfill it."""
    shards: list[dict[str, Spec]] = [{}]
    room = max_shard_size
    for name, spec in specs.items():
        if shards[-1] and spec.nbytes > room:
            shards.append({})
            room = max_shard_size
        shards[-1][name] = spec
        room -= spec.nbytes
    if len(shards) == 1:
        return {f"{stem}.safetensors": shards[0]}
    return {f"{stem}-{i:05d}-of-{len(shards):05d}.safetensors": s for i, s in enumerate(shards, 1)}


class ShardWriter:
    """The files of one checkpoint, filled in order.

    checksums: CRC-32 of each finished file, taken while writing.
    """

    def __init__(self, folder: Path, specs: Mapping[str, Spec], max_shard_size: int, stem: str = "model") -> None:
        self.folder = folder
        self.stem = stem
        self.shards = layout(specs, max_shard_size, stem)
        self.checksums: dict[str, str] = {}
        self._total = sum(spec.nbytes for spec in specs.values())

    @contextmanager
    def file(self, name: str) -> Iterator[ShardFile]:
        """One file, header written; leaving the block makes it durable and records its checksum.

        Raises CheckpointError if other than the bytes that the header describes were appended.
        """
        with open(self.folder / name, "xb") as handle:
            file = ShardFile(handle)
            file.append(header.build(self.shards[name], METADATA))
            expected = file.size + sum(spec.nbytes for spec in self.shards[name].values())
            yield file
            if file.size != expected:
                raise CheckpointError(
                    f"{name}: {file.size:,} bytes written, but its header describes {expected:,}; nobody could read it"
                )
            handle.flush()
            os.fsync(handle.fileno())
        self.checksums[name] = f"crc32:{file.checksum:08x}"

    def finish(self) -> None:
        """Write the index, if there are several files."""
        if len(self.shards) == 1:
            return
        weight_map = {tensor: file for file, specs in self.shards.items() for tensor in specs}
        content = {"metadata": {"total_size": self._total}, "weight_map": weight_map}
        write_text(self.folder / f"{self.stem}.safetensors.index.json", json.dumps(content, indent=2) + "\n")


class ShardFile:
    """An open file that is only appended to.

    size, checksum: bytes so far, and their CRC-32.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.size = 0
        self.checksum = 0

    def append(self, content: bytes | np.ndarray) -> None:
        data = content if isinstance(content, bytes) else np.ascontiguousarray(content).reshape(-1).view(np.uint8).data
        self._handle.write(data)
        self.size += len(data)
        self.checksum = zlib.crc32(data, self.checksum)
