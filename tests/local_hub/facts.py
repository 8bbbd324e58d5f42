"""What the Hub tells about a repo: read from its files at one commit, never entered by hand."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import yaml

from .blobs import Blobs
from .card import as_list, card_data
from .repos import Commit, File, Repo

TAG_KEYS = {  # key of the card → prefix of the tags made from it
    "tags": "",
    "language": "",
    "library_name": "",
    "pipeline_tag": "",
    "license": "license:",
    "datasets": "dataset:",
    "task_categories": "task_categories:",
}


@dataclass(frozen=True)
class View:
    """A repo at a commit, and the bytes of its files."""

    repo: Repo
    commit: Commit
    blobs: Blobs

    def read(self, path: str) -> bytes | None:
        file = self.commit.files.get(path)
        return None if file is None else self.blobs.read(file.sha256)

    def read_json(self, path: str) -> dict[str, Any]:
        """The mapping in a JSON file; {} if there is none."""
        try:
            value = json.loads(self.read(path) or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @cached_property
    def card(self) -> dict[str, Any]:
        return card_data((self.read("README.md") or b"").decode(errors="replace"))

    @cached_property
    def config(self) -> dict[str, Any]:
        return self.read_json("config.json")


def library(view: View) -> str | None:
    """As the card says, else by the files."""
    if "library_name" in view.card:
        return str(view.card["library_name"])
    if "adapter_config.json" in view.commit.files:
        return "peft"
    return "transformers" if "model_type" in view.config else None


def relation(view: View) -> str:
    """How the repo relates to its base models; inferred where the card does not say, as the Hub's docs have it."""
    if "base_model_relation" in view.card:
        return str(view.card["base_model_relation"])
    if "adapter_config.json" in view.commit.files:
        return "adapter"
    return "merge" if len(as_list(view.card.get("base_model"))) > 1 else "finetune"


def tags(view: View) -> list[str]:
    """The tags to filter by, each once, in a fixed order."""
    found = [library(view), view.config.get("model_type")]
    if any(path.endswith(".safetensors") for path in view.commit.files):
        found.append("safetensors")
    for key, prefix in TAG_KEYS.items():
        found += [f"{prefix}{value}" for value in as_list(view.card.get(key))]
    for base in as_list(view.card.get("base_model")):
        found += [f"base_model:{base}", f"base_model:{relation(view)}:{base}"]
    found.append("region:us")
    return list(dict.fromkeys(tag for tag in found if tag))


def parameter_counts(view: View) -> dict[str, Any] | None:
    """Elements by dtype, from the headers of model.safetensors or of the shards that its index names."""
    index = view.read_json("model.safetensors.index.json").get("weight_map", {})
    names = ["model.safetensors"] if "model.safetensors" in view.commit.files else sorted(set(index.values()))
    counts: dict[str, int] = {}
    for file in (view.commit.files[name] for name in names if name in view.commit.files):
        for dtype, shape in _tensors(view.blobs, file):
            counts[dtype] = counts.get(dtype, 0) + math.prod(shape)
    return {"parameters": counts, "total": sum(counts.values())} if counts else None


def _tensors(blobs: Blobs, file: File) -> list[tuple[str, list[int]]]:
    """dtype and shape of each tensor, from the header; [] for a file that is not safetensors."""
    start = b"".join(blobs.chunks(file.sha256, 0, min(8, file.size)))
    end = 8 + int.from_bytes(start, "little")
    if end > file.size:
        return []
    try:
        header = json.loads(b"".join(blobs.chunks(file.sha256, 8, end)))
        return [(spec["dtype"], spec["shape"]) for name, spec in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, AttributeError):
        return []


def eval_results(view: View) -> list[dict[str, Any]]:
    """The entries of .eval_results/*.yaml; a file that does not parse is reported in their place."""
    found: list[dict[str, Any]] = []
    for path in sorted(path for path in view.commit.files if PurePosixPath(path).match(".eval_results/*.yaml")):
        try:
            found += [{"filename": path, "data": entry} for entry in as_list(yaml.safe_load(view.read(path) or b""))]
        except yaml.YAMLError as error:
            found.append({"filename": path, "error": str(error)})
    return found


def siblings(view: View, blobs: bool = False) -> list[dict[str, Any]]:
    """All files; with sizes and hashes when `blobs` is asked for."""
    return [_sibling(path, file, blobs) for path, file in sorted(view.commit.files.items())]


def _sibling(path: str, file: File, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size} if file.is_lfs else None
    return {"rfilename": path, "size": file.size, "blobId": file.oid, **({"lfs": lfs} if lfs else {})}


Fact = Callable[[View], Any]

ALWAYS: dict[str, Fact] = {
    "_id": lambda view: hashlib.sha1(f"{view.repo.kind}/{view.repo.id}".encode()).hexdigest()[:24],
    "id": lambda view: view.repo.id,
}
EVERY_REPO: dict[str, Fact] = {
    "author": lambda view: view.repo.namespace,
    "cardData": lambda view: view.card,
    "createdAt": lambda view: view.repo.created_at,
    "disabled": lambda view: False,
    "downloads": lambda view: view.repo.downloads,
    "gated": lambda view: view.repo.gated,
    "lastModified": lambda view: view.commit.date,
    "likes": lambda view: 0,
    "private": lambda view: view.repo.private,
    "sha": lambda view: view.commit.sha,
    "siblings": siblings,
    "tags": tags,
    "usedStorage": lambda view: sum(file.size for file in set(view.commit.files.values())),
}
BY_KIND: dict[str, dict[str, Fact]] = {
    "models": {
        **EVERY_REPO,
        "config": lambda view: view.config or None,
        "library_name": library,
        "model-index": lambda view: view.card.get("model-index"),
        "modelId": lambda view: view.repo.id,
        "pipeline_tag": lambda view: view.card.get("pipeline_tag"),
        "safetensors": parameter_counts,
    },
    "datasets": EVERY_REPO,
    "spaces": {**EVERY_REPO, "sdk": lambda view: view.repo.sdk},
}
ON_DEMAND: dict[str, Fact] = {"evalResults": eval_results}  # only when `expand` names them


def facts(view: View, names: list[str] | None = None, blobs: bool = False) -> dict[str, Any]:
    """All facts about a repo, or those that `names` asks for; unknown names and empty facts are left out."""
    known = BY_KIND[view.repo.kind]
    wanted = known if names is None else {name: fact for name, fact in {**known, **ON_DEMAND}.items() if name in names}
    found = {name: fact(view) for name, fact in {**ALWAYS, **wanted}.items()}
    if blobs:
        found["siblings"] = siblings(view, blobs=True)
    return {name: value for name, value in found.items() if value is not None}
