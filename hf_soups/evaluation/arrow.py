"""Answers as a column of an Arrow table, and back: texts, lists of one width, or lists of such lists."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.examples import canonical
from hf_soups.evaluation.outputs import Outputs, Ragged


def column(outputs: Outputs) -> Any:
    """One entry a row."""
    import pyarrow as pa  # type: ignore[import-untyped]

    if isinstance(outputs, tuple):
        return pa.array(outputs, pa.large_string())
    values = outputs.values if isinstance(outputs, Ragged) else outputs
    flat = np.ascontiguousarray(values, dtype=np.float32)
    lines = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
    return pa.LargeListArray.from_arrays(outputs.offsets, lines) if isinstance(outputs, Ragged) else lines


def outputs_of(found: Any) -> Outputs:
    """What `column` was made of."""
    import pyarrow as pa

    if pa.types.is_large_string(found.type):
        return tuple(found.to_pylist())
    if pa.types.is_large_list(found.type):
        offsets = found.offsets.to_numpy().astype(np.int64)
        lines = found.values
        return Ragged(_numbers(lines), offsets)
    return _numbers(found)


def _numbers(lines: Any) -> NDArray[np.float32]:
    flat = lines.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return np.asarray(flat.reshape(len(lines), lines.type.list_size))


def digest(outputs: Outputs) -> str:
    """SHA-256 of the answers' own bytes."""
    if isinstance(outputs, Ragged):
        content = outputs.offsets.astype(np.int64).tobytes() + np.asarray(outputs.values, np.float32).tobytes()
    elif isinstance(outputs, tuple):
        content = canonical(outputs)
    else:
        content = np.asarray(outputs, np.float32).tobytes()
    return hashlib.sha256(content).hexdigest()
