"""The layer that makes the logits: where a factor of the logits can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_soups.selection.learned.batches import Batches


def logit_layer(model: Any, learned: Mapping[str, Any], rows: Batches) -> tuple[str, ...]:
    """Names of the tensors that make the logits twice as large when they are doubled; none if there are no such.

    They are weight and bias of one linear layer that shares neither with another part of the model. What a layer is
    called says nothing reliable, so it is tried out: doubling is exact.
    """
    import torch

    count: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        count[id(parameter)] = count.get(id(parameter), 0) + 1
    names = {id(parameter): name for name, parameter in learned.items()}
    batch = next(rows.pieces(np.arange(min(rows.n, 2)))).to(next(model.parameters()).device)
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    with torch.inference_mode():
        before = model(**batch.inputs).logits
    for layer in reversed(linear):
        own = list(layer.parameters())
        if layer.out_features != before.shape[1] or any(count[id(p)] > 1 or id(p) not in names for p in own):
            continue
        with torch.no_grad():
            for p in own:
                p.mul_(2)
            after = model(**batch.inputs).logits
            for p in own:
                p.div_(2)
        if torch.equal(after, 2 * before):
            return tuple(names[id(p)] for p in own)
    return ()
