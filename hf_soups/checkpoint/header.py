"""The safetensors header: parsed strictly, written exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from hf_soups.checkpoint.base import Spec
from hf_soups.errors import CheckpointError

MAX_HEADER = 100_000_000  # the format's own limit, checked before anything is allocated

DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def header_length(prefix: bytes, file_size: int, where: str) -> int:
    """Bytes of JSON that follow the first 8, or a CheckpointError if that cannot be."""
    if len(prefix) < 8:
        raise CheckpointError(f"{where}: {file_size} bytes, too short for safetensors; fetch it again")
    length = int.from_bytes(prefix[:8], "little")
    if length > MAX_HEADER:
        raise CheckpointError(f"{where}: not a safetensors file (its header would be {length:,} bytes)")
    if 8 + length > file_size:
        raise CheckpointError(
            f"{where}: truncated: {file_size:,} bytes, but the header alone is {8 + length:,}; fetch it again"
        )
    return length


def parse(header: bytes, file_size: int, where: str) -> tuple[dict[str, Spec], dict[str, int]]:
    """Each tensor's spec, and its first byte in the file, in the order of the data.

    The tensors must fill the file exactly: no hole, no overlap, nothing after the last one.
    """
    try:
        content = json.loads(header, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: header is not valid JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{where}: header is not a JSON object; not a safetensors file")
    content.pop("__metadata__", None)
    entries = [(*_entry(name, entry, where), name) for name, entry in content.items()]
    specs: dict[str, Spec] = {}
    offsets: dict[str, int] = {}
    position = 8 + len(header)
    begin = position
    for start, stop, spec, name in sorted(entries, key=lambda e: (e[0], e[1])):
        if begin + start != position or stop - start != spec.nbytes:
            raise CheckpointError(
                f"{where}: {name}: bytes {start} to {stop} do not fit {spec.shape} {spec.dtype} in the order "
                "of the data; the file is damaged"
            )
        specs[name], offsets[name] = spec, position
        position += spec.nbytes
    if position != file_size:
        raise CheckpointError(
            f"{where}: truncated or damaged: {file_size:,} bytes, but its header describes {position:,}; fetch it again"
        )
    return specs, offsets


def build(specs: Mapping[str, Spec], metadata: Mapping[str, str]) -> bytes:
    """The first bytes of a safetensors file with these tensors in this order, padded to 8 bytes."""
    content: dict[str, Any] = {"__metadata__": dict(metadata)}
    position = 0
    for name, spec in specs.items():
        content[name] = {
            "dtype": NAMES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [position, position + spec.nbytes],
        }
        position += spec.nbytes
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _entry(name: str, entry: Any, where: str) -> tuple[int, int, Spec]:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise CheckpointError(f"{where}: {name!a}: a tensor name that is not Unicode text") from error
    try:
        shape, (start, stop), code = entry["shape"], entry["data_offsets"], entry["dtype"]
        whole = [*shape, start, stop]
        if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in whole):
            raise ValueError("negative or fractional number")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {name}: damaged header entry ({error})") from error
    if code not in DTYPES:
        raise CheckpointError(f"{where}: {name}: dtype {code!r} cannot be merged")
    return start, stop, Spec(tuple(shape), DTYPES[code])


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice")
    return content
