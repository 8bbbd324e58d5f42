"""The part of PEFT's adapter_config.json that decides what an adapter means."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hf_soups.errors import CheckpointError

# Fields that do not change what the stored tensors mean once training is over.
HARMLESS = frozenset(
    "alpha_pattern arrow_config auto_mapping base_model_name_or_path bias ensure_weight_tying eva_config "
    "exclude_modules fan_in_fan_out inference_mode init_lora_weights layers_pattern layers_to_transform "
    "lora_alpha lora_dropout megatron_core modules_to_save peft_type peft_version qalora_group_size r "
    "rank_pattern revision runtime_config target_modules task_type use_rslora".split()
)
# Initialisations that leave the base as it was; the others make the adapter relative to a changed base.
PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal", None)


@dataclass(frozen=True)
class AdapterConfig:
    """How LoRA factors become a difference."""

    alpha: float
    alpha_pattern: Mapping[str, float]
    rank_scaled: bool
    transposed: bool

    def scale(self, module: str, rank: int) -> float:
        """The factor before B A: alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA."""
        alpha = self.alpha
        for pattern, value in self.alpha_pattern.items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                alpha = value
                break
        return alpha / (rank**0.5 if self.rank_scaled else rank)


def read_adapter_config(content: Mapping[str, Any], where: str) -> AdapterConfig:
    """The config's meaning, or a CheckpointError that names what this version cannot add up."""
    kind = content.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(f"{where}: adapters of type {kind!r} are not supported; merge it into its base with PEFT")
    unknown = sorted(k for k, v in content.items() if k not in HARMLESS and v)
    if unknown:
        raise CheckpointError(
            f"{where}: {', '.join(unknown)} changes what the adapter means and is not supported; merge it into "
            "its base with PEFT first"
        )
    start = content.get("init_lora_weights", True)
    if start not in PLAIN_STARTS:
        raise CheckpointError(
            f"{where}: initialised with {start!r}, so it is relative to a changed base; convert it with PEFT's "
            "path_initial_model_for_weight_conversion"
        )
    return AdapterConfig(
        alpha=_number(content.get("lora_alpha", 8), f"{where}: lora_alpha"),
        alpha_pattern=_patterns(content.get("alpha_pattern") or {}, f"{where}: alpha_pattern"),
        rank_scaled=bool(content.get("use_rslora")),
        transposed=bool(content.get("fan_in_fan_out")),
    )


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise CheckpointError(f"{where}: {value!r} is not a number; save the adapter again with PEFT")
    return float(value)


def _patterns(content: Any, where: str) -> Mapping[str, float]:
    if not isinstance(content, dict):
        raise CheckpointError(f"{where}: {content!r} does not give numbers by module; save the adapter again with PEFT")
    for pattern in content:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise CheckpointError(f"{where}: {pattern!r} is not a regular expression: {error}") from error
    return {pattern: _number(value, f"{where}: {pattern}") for pattern, value in content.items()}
