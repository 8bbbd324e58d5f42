"""Safetensors files written from the plan: header first, then each range at its place, in any order."""

from __future__ import annotations

import ctypes
import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock, Thread

import numpy as np
from isal import isal_zlib

from hf_soups.checkpoint import header
from hf_soups.checkpoint.base import Spec
from hf_soups.checkpoint.folder import write_text
from hf_soups.errors import CheckpointError

FLUSH = 1 << 28  # bytes after which the disk is set to work, so that little is left for it to do at the end
METADATA = {"format": "pt"}  # transformers refuses files without it


def layout(
    specs: Mapping[str, Spec], max_shard_size: int, stem: str = "model", modules: Sequence[str] = ()
) -> dict[str, dict[str, Spec]]:
    """File name → its tensors, in order; a file is closed before the tensor that would overfill it.

    modules: subfolders whose tensors (`folder/name`) have a file there.
    """
    inside = {f"{m}/model.safetensors": {n: s for n, s in specs.items() if n.startswith(f"{m}/")} for m in modules}
    shards: list[dict[str, Spec]] = [{}]
    room = max_shard_size
    for name, spec in specs.items():
        if any(name in module for module in inside.values()):
            continue
        if shards[-1] and spec.nbytes > room:
            shards.append({})
            room = max_shard_size
        shards[-1][name] = spec
        room -= spec.nbytes
    if len(shards) == 1:
        return {f"{stem}.safetensors": shards[0], **inside}
    return {f"{stem}-{i:05d}-of-{len(shards):05d}.safetensors": s for i, s in enumerate(shards, 1)} | inside


def _as_in_file(file: str, specs: Mapping[str, Spec]) -> dict[str, Spec]:
    """Tensors by the names that they have in their file: those of a module without its folder."""
    folder = file.rpartition("/")[0]
    return {name.removeprefix(f"{folder}/") if folder else name: spec for name, spec in specs.items()}


class ShardWriter:
    """The files of one checkpoint.

    metadata: texts for every file's header, such as the names that tied tensors also go by.
    checksums: CRC-32 of each finished file, taken while writing.
    """

    def __init__(
        self,
        folder: Path,
        specs: Mapping[str, Spec],
        max_shard_size: int,
        stem: str = "model",
        metadata: Mapping[str, str] | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.stem = stem
        self.metadata = METADATA | dict(metadata or {})
        self.shards = layout(specs, max_shard_size, stem, modules)
        self.checksums: dict[str, str] = {}

    @contextmanager
    def file(self, name: str) -> Iterator[ShardFile]:
        """One file, header written; leaving the block makes it durable and records its checksum.

        Raises CheckpointError if other bytes than those that the header describes were written.
        """
        (self.folder / name).parent.mkdir(exist_ok=True)
        handle = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            file = ShardFile(handle, name, self.shards[name], self.metadata)
            try:
                yield file
            finally:
                file.settle()
            self.checksums[name] = f"crc32:{file.checksum():08x}"
            os.fsync(handle)
        finally:
            os.close(handle)

    def missing(self, name: str) -> bool:
        """Whether a file, perhaps another process's, is not there as long as it must be."""
        specs = _as_in_file(name, self.shards[name])
        size = len(header.build(specs, METADATA)) + sum(spec.nbytes for spec in specs.values())
        try:
            with open(self.folder / name, "rb") as file:  # opening asks a network file system what is true now
                return os.fstat(file.fileno()).st_size != size
        except FileNotFoundError:
            return True

    def finish(self) -> None:
        """Write the index, if there are several files."""
        parts = {file: specs for file, specs in self.shards.items() if "/" not in file}
        if len(parts) == 1:
            return
        weight_map = {tensor: file for file, specs in parts.items() for tensor in specs}
        total = sum(spec.nbytes for specs in parts.values() for spec in specs.values())
        content = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_text(self.folder / f"{self.stem}.safetensors.index.json", json.dumps(content, indent=2) + "\n")


class ShardFile:
    """An open file that ranges of its tensors are put into, from any thread."""

    def __init__(self, handle: int, name: str, specs: Mapping[str, Spec], metadata: Mapping[str, str]) -> None:
        self._handle = handle
        self._name = name
        self._lock = Lock()
        self._waiting = 0  # bytes that the disk was not yet asked for
        self._flush: Thread | None = None
        self._pieces: dict[int, tuple[int, int]] = {}  # first byte → bytes, CRC-32
        head = header.build(_as_in_file(name, specs), metadata)
        self.size = len(head)
        self._begin: dict[str, int] = {}
        for tensor, spec in specs.items():
            self._begin[tensor] = self.size
            self.size += spec.nbytes
        _reserve(handle, self.size)
        self._put(np.frombuffer(head, np.uint8), 0)

    def put(self, tensor: str, start: int, values: np.ndarray) -> None:
        """Elements from `start` on of a tensor."""
        data = np.ascontiguousarray(values).reshape(-1)
        self._put(data.view(np.uint8), self._begin[tensor] + start * data.itemsize)

    def checksum(self) -> int:
        """CRC-32 of the whole file, from those of its pieces; CheckpointError unless they cover it exactly."""
        whole, position = 0, 0
        for start, (size, checksum) in sorted(self._pieces.items()):
            if start != position:
                break
            whole = isal_zlib.crc32_combine(whole, checksum, size)
            position += size
        if position != self.size:
            raise CheckpointError(
                f"{self._name}: byte {position:,} of {self.size:,} was written never or twice; nobody could read it"
            )
        return whole

    def settle(self) -> None:
        """Wait for what is on its way to the disk."""
        if self._flush is not None:
            self._flush.join()

    def _put(self, data: np.ndarray, position: int) -> None:
        if len(data) == 0:
            return
        checksum = isal_zlib.crc32(data)
        done = 0
        with self._lock:  # the system lets one thread write to a file at a time, and makes the others spin
            while done < len(data):
                done += os.pwrite(self._handle, data[done:].data, position + done)
            self._pieces[position] = (len(data), checksum)
            self._waiting += len(data)
            if self._waiting >= FLUSH and (self._flush is None or not self._flush.is_alive()):
                self._waiting = 0
                self._flush = Thread(target=os.fdatasync, args=(self._handle,), daemon=True)
                self._flush.start()


def _reserve(handle: int, size: int) -> None:
    """Make a file as long as it will be, its place on the disk taken: that halves the cost of writing it.

    Raises CheckpointError if the disk is too small; where a file system cannot tell, writing will.
    """
    os.ftruncate(handle, size)
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)  # posix_fallocate would write it all
    if fallocate is None or size == 0:
        return
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if fallocate(handle, 0, 0, size) != 0 and ctypes.get_errno() == errno.ENOSPC:
        raise CheckpointError(f"no room for {size:,} bytes on the disk; make some, or choose another folder")
