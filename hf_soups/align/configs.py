"""Configs, labels and vocabularies: what equal shapes do not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hf_soups.align.finding import Finding
from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import AlignmentError, CheckpointError
from hf_soups.recipe import Recipe

PLACEHOLDER = re.compile(r"LABEL_\d+")
# Fields that change what a model computes although every shape stays the same. A field that only one
# config has says nothing: the other has its class's default, which is usually the same.
MEANING = (
    "num_attention_heads num_key_value_heads head_dim hidden_act hidden_activation activation_function "
    "layer_norm_eps layer_norm_epsilon rms_norm_eps rope_theta rope_scaling rope_parameters sliding_window "
    "position_embedding_type tie_word_embeddings problem_type image_size patch_size"
).split()


def config_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The content of config.json, empty if there is none; CheckpointError if it is not a JSON object."""
    text = checkpoint.assets.get("config.json")
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{checkpoint.origin.name}: config.json is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{checkpoint.origin.name}: config.json is not a JSON object")
    return content


def compare_configs(parties: Mapping[str, Checkpoint]) -> list[Finding]:
    """Different architectures, or fields that change the meaning of equal weights."""
    configs = {name: config_of(party) for name, party in parties.items()}
    kinds = {n: _kind(c) for n, c in configs.items() if "model_type" in c or "_class_name" in c}
    if len(set(kinds.values())) > 1:
        said = "; ".join(f"{name}: {kind}" for name, kind in kinds.items())
        return [Finding("error", f"different architectures: {said}; a soup needs fine-tunes of one model")]
    findings = []
    for field in MEANING:
        values = {name: config[field] for name, config in configs.items() if field in config}
        if len({json.dumps(v, sort_keys=True) for v in values.values()}) > 1:
            said = "; ".join(f"{name}: {value}" for name, value in values.items())
            findings.append(Finding("error", f"config.json: {field} differs, so equal weights differ: {said}"))
    return findings


def find_labels(recipe: Recipe, parties: Mapping[str, Checkpoint]) -> tuple[tuple[str, ...] | None, list[Finding]]:
    """The one list of labels that all agree on, by position; it is an error if they do not."""
    said: dict[str, tuple[str, ...]] = {}
    unproven: list[str] = []
    findings: list[Finding] = []
    for ingredient, (name, party) in zip(recipe.ingredients, parties.items(), strict=True):
        own = label_names(config_of(party), party.origin.name)
        if ingredient.labels is not None:
            findings += _check_said(name, ingredient.labels, own)
        labels = ingredient.labels or own
        if labels is None:
            continue
        if all(PLACEHOLDER.fullmatch(label) for label in labels):
            unproven.append(name)
        else:
            said[name] = labels
    if len({tuple(label.lower() for label in labels) for labels in said.values()}) > 1:
        different = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in said.items())
        findings.append(Finding("error", f"different labels or another order of them: {different}"))
    if unproven and len(parties) > 1:
        names = ", ".join(unproven)
        findings.append(
            Finding("warning", f"labels unproven: {names} only say LABEL_0, …; settle it with labels: on them")
        )
    return (next(iter(said.values())) if said else None), findings


def label_names(config: Mapping[str, Any], where: str = "config.json") -> tuple[str, ...] | None:
    """The head's output names in the order of their ids, from a config's id2label."""
    mapping = config.get("id2label")
    if not isinstance(mapping, dict) or not mapping:
        return None
    try:
        ordered = {int(i): str(label) for i, label in mapping.items()}
        return tuple(ordered[i] for i in range(len(ordered)))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{where}: id2label does not number its labels from 0: {mapping}") from error


def check_tokenizers(checkpoints: Mapping[str, Checkpoint]) -> None:
    """AlignmentError unless all that have a vocabulary have the same one, token by token.

    It reads the tokenizers' files, so it belongs after the download.
    """
    found = {name: vocabulary for name, c in checkpoints.items() if (vocabulary := _vocabulary(c)) is not None}
    if not found:
        return
    first, expected = next(iter(found.items()))
    for name, vocabulary in found.items():
        if vocabulary != expected:
            different = sorted(set(vocabulary.items()) ^ set(expected.items()), key=lambda item: (item[1], item[0]))
            tokens = ", ".join(repr(token) for token, _ in different[:5])
            raise AlignmentError(
                f"{name}: its vocabulary differs from that of {first} in {len(set(t for t, _ in different))} tokens "
                f"({tokens}, …), so the same row of the embeddings means another token; leave one of them out"
            )


def _vocabulary(checkpoint: Checkpoint) -> dict[str, int] | None:
    """Token → id, where a file says so plainly."""
    if "tokenizer.json" in checkpoint.assets:
        try:
            content = json.loads(checkpoint.assets["tokenizer.json"])
            words = content["model"]["vocab"]
            pairs = words.items() if isinstance(words, dict) else ((w[0], i) for i, w in enumerate(words))
            added = {token["content"]: int(token["id"]) for token in content.get("added_tokens") or []}
            return {**{str(w): int(i) for w, i in pairs}, **added}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise CheckpointError(f"{checkpoint.origin.name}: tokenizer.json cannot be read: {error!r}") from error
    if "vocab.txt" in checkpoint.assets:
        lines = checkpoint.assets["vocab.txt"].decode("utf-8", "replace").splitlines()
        return {line: number for number, line in enumerate(lines)}
    return None


def _kind(config: Mapping[str, Any]) -> str:
    if "model_type" not in config:
        return str(config["_class_name"])  # a component of diffusers
    names = config.get("architectures")
    return " ".join(map(str, [config["model_type"], *(names if isinstance(names, list) else [])]))


def _check_said(name: str, labels: tuple[str, ...], own: tuple[str, ...] | None) -> list[Finding]:
    if len(set(labels)) != len(labels):
        return [Finding("error", f"{name}: labels: {', '.join(labels)} names one twice")]
    if own is not None and len(own) != len(labels):
        return [Finding("error", f"{name}: labels: {len(labels)} names for a head of {len(own)} outputs")]
    return []
