"""Streams of random weights into safetensors files: memory does not depend on the size of the model."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import ml_dtypes
import numpy as np

from tests.benchmarks.shapes import Tensor

CHUNK = 1 << 20  # elements in memory at a time
SPREAD = 0.02  # standard deviation of a base's matrices
STEP = 0.01  # of a fine-tune's move, relative to SPREAD; at 0.001 bfloat16 would round most moves away
TAIL, TAIL_STEP = 0.03, 8  # share of coordinates that move further, and how many times further

Chunks = Callable[[Tensor], Iterable[np.ndarray]]


def write_file(path: Path, tensors: list[Tensor], dtype: str, chunks: Chunks) -> None:
    """Write one safetensors file; `chunks` gives each tensor's elements in order."""
    width = {"BF16": 2, "F32": 4}[dtype]
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        end = offset + width * tensor.elements
        header[tensor.name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            for chunk in chunks(tensor):
                file.write(chunk.tobytes())


def skip_header(file: BinaryIO) -> None:
    """Leave the file at the first byte of its first tensor."""
    file.seek(int.from_bytes(file.read(8), "little"), 1)


def generator(name: str, model: int) -> np.random.Generator:
    """The random numbers of one tensor of one model: the same in every run."""
    return np.random.default_rng([zlib.crc32(name.encode()), model])


def _lengths(count: int) -> Iterator[int]:
    for start in range(0, count, CHUNK):
        yield min(CHUNK, count - start)


def base(tensor: Tensor) -> Iterator[np.ndarray]:
    """Normal numbers, never random bits: subnormal numbers would take ten times as long to add."""
    rng = generator(tensor.name, 0)
    mean = 1.0 if len(tensor.shape) == 1 else 0.0
    for length in _lengths(tensor.elements):
        values = rng.standard_normal(length, dtype=np.float32) * np.float32(SPREAD) + np.float32(mean)
        yield values.astype(ml_dtypes.bfloat16)


def fine_tune(source: BinaryIO, model: int) -> Chunks:
    """The tensors that follow in `source`, each moved by small normal steps, a few of them larger."""

    def chunks(tensor: Tensor) -> Iterator[np.ndarray]:
        rng = generator(tensor.name, model)
        for length in _lengths(tensor.elements):
            before = np.frombuffer(source.read(2 * length), dtype=ml_dtypes.bfloat16).astype(np.float32)
            step = rng.standard_normal(length, dtype=np.float32) * np.float32(SPREAD * STEP)
            step[rng.integers(0, length, int(TAIL * length))] *= TAIL_STEP
            yield (before + step).astype(ml_dtypes.bfloat16)

    return chunks


def adapter(model: int) -> Chunks:
    """Factors of a trained adapter: both are normal, their product is small beside the base."""

    def chunks(tensor: Tensor) -> Iterator[np.ndarray]:
        rng = generator(tensor.name, model)
        spread = tensor.shape[1] ** -0.5 if ".lora_A." in tensor.name else SPREAD * STEP
        yield rng.standard_normal(tensor.elements, dtype=np.float32) * np.float32(spread)

    return chunks
