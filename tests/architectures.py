"""Tiny random models of many architectures, each one line: a class of transformers, its config, what it reads."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Every config takes the words that its class knows by these names and leaves the others.
SMALL = dict(
    vocab_size=48, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    image_size=8, patch_size=4, num_key_value_heads=1, head_dim=8, projection_dim=8, cls_token_id=1, sep_token_id=2,
)  # fmt: skip
TOWER = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
EYES = dict(**TOWER, image_size=8, patch_size=4)
READER = dict(**TOWER, vocab_size=48, max_position_embeddings=64)
TEXTS = dict(**READER, pad_token_id=0, bos_token_id=1, eos_token_id=2)
CAUSAL = dict(**TEXTS, num_key_value_heads=1)
EXPERTS = dict(num_experts=4, num_local_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
LETTERS = dict(num_labels=3, problem_type="single_label_classification")
EARS = dict(
    num_mel_bins=4, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=16, max_target_positions=16,
)  # fmt: skip
WAVES = dict(
    conv_dim=(8, 8), conv_kernel=(4, 4), conv_stride=(2, 2), num_feat_extract_layers=2, num_conv_pos_embeddings=4,
    num_conv_pos_embedding_groups=2,
)  # fmt: skip
RELATIVE = dict(relative_attention=True, pos_att_type=["c2p", "p2c"])
STAGES = dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
LLAVA = dict(
    text_config=dict(CAUSAL, model_type="llama"), vision_config=dict(EYES, model_type="clip_vision_model"),
    image_token_index=47,
)  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """A model class of transformers and how its config differs from SMALL.

    shard: files of at most so many bytes. dtype: of the files. slow: takes seconds rather than a second.
    fused: transformers makes one tensor of several of the files', which Soup.load cannot.
    """

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    shard: int | None = None
    dtype: str = "float32"
    slow: bool = False
    fused: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """How both save_pretrained and hf_soups.merge are asked for files of that size."""
        return {} if self.shard is None else {"max_shard_size": self.shard}

    def build(self, seed: int) -> PreTrainedModel:
        """The model, every float of it drawn from the seed, constants of initialisation too."""
        import torch
        import transformers

        kind = getattr(transformers, self.kind)
        known = inspect.signature(kind.config_class).parameters
        small = {name: value for name, value in SMALL.items() if name in known}
        config = kind.config_class(**{**small, **self.config})
        torch.manual_seed(seed)
        model: PreTrainedModel = kind(config).to(getattr(torch, self.dtype)).eval()
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    noise = 0.05 * torch.randn(value.shape).to(value.dtype)
                    value.add_(noise.abs() if name.endswith("running_var") else noise)
                elif name.endswith("num_batches_tracked"):
                    value.fill_(seed)
        return model

    def save(self, seed: int, folder: Path) -> Path:
        """A checkpoint as save_pretrained writes it."""
        self.build(seed).save_pretrained(folder, **self.options)
        return folder

    def inputs(self, model: PreTrainedModel) -> dict[str, torch.Tensor]:
        """What its forward pass takes, by the names in its signature."""
        import torch

        generator = torch.Generator().manual_seed(0)
        asked = inspect.signature(model.forward).parameters
        ids = torch.tensor([[1, 5, 9, 20, 11, 7, 8, 2], [1, 30, 3, 4, 6, 41, 12, 2]])
        if hasattr(model.config, "image_token_id"):
            ids[:, 1:5] = model.config.image_token_id  # as many as there are patches
        floats = {
            "pixel_values": (2, 3, 8, 8) if self.kind != "ConvNextForImageClassification" else (2, 3, 32, 32),
            "input_features": (2, 4, 32),
            "input_values": (2, 200),
        }
        found = {"input_ids": ids, "decoder_input_ids": ids} | {
            name: torch.randn(shape, generator=generator) for name, shape in floats.items()
        }
        return {name: value for name, value in found.items() if name in asked}


ARCHITECTURES = {
    "bert": Architecture("BertForSequenceClassification", LETTERS),
    "bert-tied-head": Architecture("BertForMaskedLM"),
    "bert-bfloat16": Architecture("BertForSequenceClassification", LETTERS, dtype="bfloat16"),
    "bert-tokens": Architecture("BertForTokenClassification", LETTERS),
    "bert-answers": Architecture("BertForQuestionAnswering"),
    "roberta": Architecture("RobertaForSequenceClassification", LETTERS),
    "distilbert": Architecture("DistilBertForSequenceClassification", dict(LETTERS, dim=16, n_heads=2, n_layers=2)),
    "deberta": Architecture("DebertaForSequenceClassification", dict(LETTERS, **RELATIVE)),
    "deberta-v2": Architecture("DebertaV2ForSequenceClassification", dict(LETTERS, **RELATIVE)),
    "modernbert": Architecture("ModernBertForSequenceClassification", LETTERS),
    "t5": Architecture("T5ForConditionalGeneration", dict(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)),
    "bart": Architecture("BartForConditionalGeneration", EARS),
    "gpt2": Architecture("GPT2LMHeadModel", dict(n_embd=16, n_layer=2, n_head=2, n_positions=64)),
    "llama": Architecture("LlamaForCausalLM"),
    "llama-shards": Architecture("LlamaForCausalLM", shard=6_000),
    "llama-tied": Architecture("LlamaForCausalLM", dict(tie_word_embeddings=True), shard=6_000),
    "qwen2": Architecture("Qwen2ForCausalLM"),
    "qwen3": Architecture("Qwen3ForCausalLM"),
    "gemma2": Architecture("Gemma2ForCausalLM"),
    "gemma3": Architecture("Gemma3ForCausalLM"),
    "mistral": Architecture("MistralForCausalLM"),
    "phi": Architecture("PhiForCausalLM"),
    "phi3": Architecture("Phi3ForCausalLM"),
    "mixtral": Architecture("MixtralForCausalLM", EXPERTS, fused=True),
    "qwen2-moe": Architecture("Qwen2MoeForCausalLM", EXPERTS, fused=True),
    "olmoe": Architecture("OlmoeForCausalLM", EXPERTS, fused=True),
    "mamba": Architecture("MambaForCausalLM", dict(state_size=4, time_step_rank=2)),
    "vit": Architecture("ViTForImageClassification", LETTERS),
    "dinov2": Architecture("Dinov2ForImageClassification", LETTERS),
    "convnext": Architecture("ConvNextForImageClassification", dict(LETTERS, hidden_sizes=[8] * 4, depths=[1] * 4)),
    "resnet": Architecture("ResNetForImageClassification", dict(LETTERS, **STAGES)),
    "clip": Architecture("CLIPModel", dict(text_config=TEXTS, vision_config=EYES)),
    "siglip": Architecture("SiglipModel", dict(text_config=dict(TEXTS, projection_size=16), vision_config=EYES)),
    "whisper": Architecture("WhisperForConditionalGeneration", EARS),
    "wav2vec2": Architecture("Wav2Vec2ForCTC", WAVES),
    "llava": Architecture("LlavaForConditionalGeneration", LLAVA),
    "reward": Architecture("LlamaForSequenceClassification", dict(num_labels=1)),
}
