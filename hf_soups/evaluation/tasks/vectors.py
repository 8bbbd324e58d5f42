"""One vector a row: how the answers of classifiers are taken from a model, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.outputs import Outputs


def logits_of(output: Any, rows: int, kind: str) -> list[NDArray[np.float32]]:
    """For each row its logits [width] float32; EvaluationError if the model gives no matrix of them.

    kind: what the model should have been loaded as.
    """
    logits = getattr(output, "logits", None)
    if logits is None or logits.ndim != 2 or logits.shape[0] != rows:
        shape = "no logits" if logits is None else f"logits {list(logits.shape)}"
        raise EvaluationError(f"the model gives {shape} for {rows} inputs; load it as {kind}")
    return list(logits.float().cpu().numpy())


def check_shape(outputs: Outputs, rows: int, width: int, whose: str, labels: Sequence[str] = ()) -> None:
    """EvaluationError unless outputs are [rows, width]."""
    shape = outputs.shape if isinstance(outputs, np.ndarray) else (len(outputs),)
    if shape != (rows, width):
        listed = ", ".join(labels[:10]) + (", …" if len(labels) > 10 else "")
        meant = f" for the labels {listed}" if labels else ""
        raise EvaluationError(f"{whose}: logits are {list(shape)}, expected [{rows}, {width}]{meant}")
