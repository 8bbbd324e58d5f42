"""Tensors that are not numbers but codes, which mean something only with the scales stored beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hf_soups.checkpoint.base import Spec
from hf_soups.errors import CheckpointError

# Last parts of the names that scales, zero points and code books go by: compressed-tensors, GPTQ, AWQ, bitsandbytes,
# FP8 checkpoints.
SCALES = re.compile(
    r"scales?|scale_\w+|\w+_scale(_inv|_2)?|qzeros|zero_point|\w+_zero_point|absmax|quant_\w+|SCB|g_idx"
)
PACKED = re.compile(r"qweight|weight_packed|\w+_blocks")


def refuse_codes(specs: Mapping[str, Spec], where: str) -> None:
    """CheckpointError if 8-bit floats or integers are quantised weights: their mean is not the mean of what they mean.

    Floats of 8 bits without scales are plain numbers, and are merged as such.
    """
    scaled = {name.rpartition(".")[0] for name in specs if SCALES.fullmatch(name.rpartition(".")[2])}
    for name, spec in specs.items():
        module, _, last = name.rpartition(".")
        if spec.is_float and spec.dtype.itemsize > 1:
            continue
        if PACKED.fullmatch(last) or (last == "weight" and {module, name} & scaled):
            kind = "8-bit floats" if spec.is_float else f"{spec.dtype} codes"
            raise CheckpointError(
                f"{where}: {name}: {kind} that need the scales stored beside them; dequantise the model first"
            )
