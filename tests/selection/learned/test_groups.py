"""Blocks of well-known models, by their tensors' names."""

from __future__ import annotations

import pytest

from hf_soups.selection.learned.groups import find_groups, members

BLOCKS = {
    "bert.embeddings.LayerNorm.weight": "bert.embeddings",
    "bert.encoder.layer.0.attention.self.query.weight": "bert.encoder.layer.0",
    "bert.encoder.layer.11.output.dense.bias": "bert.encoder.layer.11",
    "bert.pooler.dense.weight": "bert.pooler",
    "classifier.weight": "classifier",
}
OTHERS = [
    {"roberta.encoder.layer.3.x.weight": "roberta.encoder.layer.3", "classifier.out_proj.weight": "classifier"},
    {"model.layers.7.mlp.up_proj.weight": "model.layers.7", "model.norm.weight": "model.norm", "score.weight": "score"},
    {"model.layers.0.x.weight": "model.layers.0", "model.embed_tokens.weight": "model.embed_tokens"},
    {"encoder.block.1.layer.0.x.weight": "encoder.block.1", "decoder.block.1.layer.0.x.weight": "decoder.block.1"},
    {"encoder.block.1.layer.0.x.weight": "encoder.block.1", "shared.weight": "shared"},
    {"encoder.layer.2.x.weight": "encoder.layer.2", "embeddings.LayerNorm.bias": "embeddings"},
    {"a": "a", "b.weight": "b"},
]


@pytest.mark.parametrize("blocks", [BLOCKS, *OTHERS])
def test_a_block_is_a_layer_or_a_module_beside_the_layers(blocks: dict[str, str]) -> None:
    assert find_groups(blocks, "block") == blocks


def test_the_model_is_one_group_and_each_tensor_its_own() -> None:
    assert set(find_groups(BLOCKS, "model").values()) == {"model"}
    assert find_groups(BLOCKS, "tensor") == {name: name for name in BLOCKS}


def test_groups_keep_the_order_of_their_tensors() -> None:
    assert list(members(find_groups(BLOCKS, "block"))) == list(BLOCKS.values())
