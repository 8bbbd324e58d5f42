"""Llama shapes: the tensors and the config.json of a model, without its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class Tensor(NamedTuple):
    """A tensor that a file will hold."""

    name: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Shape:
    """Dimensions of a Llama; `shards` is the number of files that its weights are cut into."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocab: int
    tied: bool
    shards: int = 1

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """[out, in] of the matrices of every layer: what an adapter adapts."""
        kv = self.hidden // self.heads * self.kv_heads
        return {
            "self_attn.q_proj": (self.hidden, self.hidden),
            "self_attn.k_proj": (kv, self.hidden),
            "self_attn.v_proj": (kv, self.hidden),
            "self_attn.o_proj": (self.hidden, self.hidden),
            "mlp.gate_proj": (self.mlp, self.hidden),
            "mlp.up_proj": (self.mlp, self.hidden),
            "mlp.down_proj": (self.hidden, self.mlp),
        }

    def tensors(self) -> list[Tensor]:
        """All tensors of the model, in the order of the layers."""
        found = [Tensor("model.embed_tokens.weight", (self.vocab, self.hidden))]
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}"
            found += [Tensor(f"{prefix}.{name}.weight", shape) for name, shape in self.linears.items()]
            for norm in ("input_layernorm", "post_attention_layernorm"):
                found.append(Tensor(f"{prefix}.{norm}.weight", (self.hidden,)))
        found.append(Tensor("model.norm.weight", (self.hidden,)))
        if not self.tied:
            found.append(Tensor("lm_head.weight", (self.vocab, self.hidden)))
        return found

    def files(self) -> dict[str, list[Tensor]]:
        """File name → its tensors; files of about equal size."""
        if self.shards == 1:
            return {"model.safetensors": self.tensors()}
        names = [f"model-{i + 1:05d}-of-{self.shards:05d}.safetensors" for i in range(self.shards)]
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        total, before = sum(tensor.elements for tensor in self.tensors()), 0
        for tensor in self.tensors():
            found[names[before * self.shards // total]].append(tensor)
            before += tensor.elements
        return found

    def config(self) -> dict[str, object]:
        """The content of config.json, with the keys that published Llamas have."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.mlp,
            "max_position_embeddings": 2048,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "rope_theta": 10000.0,
            "tie_word_embeddings": self.tied,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": self.vocab,
        }


SHAPES = {
    "tiny": Shape(hidden=64, layers=2, heads=4, kv_heads=2, mlp=128, vocab=256, tied=False, shards=2),
    "135m": Shape(hidden=576, layers=30, heads=9, kv_heads=3, mlp=1536, vocab=49152, tied=True),  # SmolLM-135M
    "1b": Shape(hidden=2048, layers=22, heads=32, kv_heads=4, mlp=5632, vocab=32000, tied=False, shards=5),  # TinyLlama
}
