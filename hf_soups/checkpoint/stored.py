"""A checkpoint in safetensors files: one, or shards with an index, on disk or behind a range reader."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from hf_soups.checkpoint import header
from hf_soups.checkpoint.base import Checkpoint, Origin, Spec
from hf_soups.checkpoint.codes import refuse_codes
from hf_soups.checkpoint.files import Files, Source
from hf_soups.errors import CheckpointError, SoupError

# Files that turn weights into a usable model, copied with a soup.
ASSETS = (
    "config.json generation_config.json tokenizer.json tokenizer_config.json special_tokens_map.json "
    "added_tokens.json vocab.* merges.txt *.model *.spm *.tiktoken chat_template.jinja "
    "additional_chat_templates/* preprocessor_config.json processor_config.json "
    "video_preprocessor_config.json modules.json sentence_bert_config.json "
    "config_sentence_transformers.json [0-9]*_*/config.json LICENSE* NOTICE*"
).split()
MODULE = "[0-9]*_*/model.safetensors"  # weights of a module of sentence-transformers
DIFFUSERS = "diffusion_pytorch_model"  # what diffusers calls the weights of a component
HEAD = 1 << 15  # bytes of a file read at once for its header; more than most headers have
HASH_BLOCK = 1 << 22


class Assets(Mapping[str, bytes]):
    """The files beside the weights, read when asked for."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._names = [n for n in files.names() if any(fnmatch.fnmatchcase(n, p) for p in ASSETS)]

    def __getitem__(self, name: str) -> bytes:
        if name not in self._names:
            raise KeyError(name)
        return read_all(self._files, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Stored(Checkpoint):
    """Tensors in the safetensors files of one folder.

    stem: `model` for full models, `adapter_model` for adapters; components of diffusers have their own.
    Raises CheckpointError that names the file if one is missing, truncated or damaged.
    """

    def __init__(self, files: Files, origin: Origin, stem: str = "model") -> None:
        self.files = files
        self.origin = origin
        self.assets = Assets(files)
        self.specs: dict[str, Spec] = {}
        self._places: dict[str, tuple[Source, int]] = {}
        self.header_sha256: dict[str, str] = {}
        names = files.names()
        self.stem = stem = DIFFUSERS if stem == "model" and _is_component(names) else stem
        self.weight_files, index = _weight_files(files, stem)
        for file in self.weight_files:
            self._add(file)
        if index is not None:
            self._check_index(index)
        self.modules = tuple(_modules(files)) if "modules.json" in names else ()
        for folder in self.modules:
            self.weight_files.append(f"{folder}/model.safetensors")
            self._add(self.weight_files[-1], f"{folder}/")
        if not self.specs:
            raise CheckpointError(f"{files.where}: holds no tensors; fetch it again")
        refuse_codes(self.specs, files.where)

    def read(self, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        source, offset = self._places[name]
        dtype = self.specs[name].dtype
        count = (stop - start) * dtype.itemsize
        content = np.empty(count, np.uint8) if into is None else into[:count]
        try:
            source.read_into(offset + start * dtype.itemsize, content)
        except SoupError as error:
            raise type(error)(f"{name}: {error}") from error
        return content.view(dtype)

    def confirm(self) -> None:
        for source in {id(s): s for s, _ in self._places.values()}.values():
            source.confirm()

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        if self.origin.sha:
            return "/".join(filter(None, [self.origin.reference, self.origin.subfolder]))
        digest = hashlib.sha256()
        for file in self.weight_files:
            source = self.files.source(file)
            for start in range(0, source.size, HASH_BLOCK):
                digest.update(source.read(start, min(HASH_BLOCK, source.size - start)))
        return f"sha256:{digest.hexdigest()}"

    def _add(self, file: str, prefix: str = "") -> None:
        where = f"{self.files.where}/{file}"
        source = self.files.source(file)
        head = source.read(0, min(HEAD, source.size))
        length = header.header_length(head, source.size, where)
        if len(head) < 8 + length:
            head += source.read(len(head), 8 + length - len(head))
        text = head[8 : 8 + length]
        self.header_sha256[file] = hashlib.sha256(text).hexdigest()
        specs, offsets = header.parse(text, source.size, where)
        for name in specs:
            if prefix + name in self.specs:
                raise CheckpointError(f"{where}: {name} is in another shard too; the shards are not of one model")
            self._places[prefix + name] = (source, offsets[name])
        self.specs.update({prefix + name: spec for name, spec in specs.items()})

    def _check_index(self, index: Mapping[str, str]) -> None:
        missing = sorted(set(index) - set(self.specs))
        extra = sorted(set(self.specs) - set(index))
        if missing or extra:
            raise CheckpointError(
                f"{self.files.where}: index and shards disagree: in the index only: {_some(missing)}; "
                f"in the shards only: {_some(extra)}"
            )


def read_all(files: Files, name: str) -> bytes:
    """A whole small file."""
    source = files.source(name)
    return source.read(0, source.size)


def read_json(files: Files, name: str) -> dict[str, Any]:
    """A JSON object in a file; CheckpointError that names it if it is not one."""
    try:
        content = json.loads(read_all(files, name))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{files.where}/{name}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{files.where}/{name}: not a JSON object")
    return content


def is_adapter(files: Files) -> bool:
    """Whether this is an adapter (PEFT), to be put on a base, rather than a model."""
    return "adapter_config.json" in files.names()


def _is_component(names: list[str]) -> bool:
    """Whether these are the files of a part of a diffusers pipeline."""
    if any(name in ("model.safetensors", "model.safetensors.index.json") for name in names):
        return False
    return any(name.startswith(DIFFUSERS) for name in names)


def _modules(files: Files) -> list[str]:
    """Subfolders that modules.json lists and that hold weights; CheckpointError if those are pickles."""
    names = set(files.names())
    try:
        listed = [str(module["path"]).strip("/") for module in json.loads(read_all(files, "modules.json"))]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{files.where}/modules.json: lists no modules with a path: {error!r}") from error
    folders = [path for path in listed if fnmatch.fnmatchcase(f"{path}/model.safetensors", MODULE)]
    for folder in folders:
        if f"{folder}/model.safetensors" not in names and f"{folder}/pytorch_model.bin" in names:
            raise CheckpointError(
                f"{files.where}/{folder}: only pickle weights, which are not opened; convert them: load the model with "
                "sentence-transformers and save_pretrained() it"
            )
    return [folder for folder in folders if f"{folder}/model.safetensors" in names]


def _weight_files(files: Files, stem: str) -> tuple[list[str], Mapping[str, str] | None]:
    names = files.names()
    top = [n for n in names if "/" not in n]
    if f"{stem}.safetensors" in top:
        return [f"{stem}.safetensors"], None
    if f"{stem}.safetensors.index.json" in top:
        index = read_json(files, f"{stem}.safetensors.index.json").get("weight_map")
        if not isinstance(index, dict) or not all(isinstance(v, str) for v in index.values()):
            raise CheckpointError(f"{files.where}/{stem}.safetensors.index.json: no usable weight_map")
        shards = sorted(set(index.values()))
        lost = [s for s in shards if s not in top]
        if lost:
            raise CheckpointError(f"{files.where}: the index names files that are not there: {_some(lost)}")
        return shards, index
    others = [n for n in top if n.endswith(".safetensors")]
    if len(others) == 1:
        return others, None
    raise CheckpointError(f"{files.where}: {_why_no_weights(names, others)}")


def _why_no_weights(names: list[str], others: list[str]) -> str:
    if others:
        return f"several safetensors files and no index: {_some(others)}"
    checkpoints = {n.split("/")[0] for n in names if re.match(r"checkpoint-\d+/", n)}
    if checkpoints:
        latest = sorted(checkpoints, key=lambda c: int(c.split("-")[1]))
        return f"holds trainer checkpoints, name one of them as subfolder: {', '.join(latest)}"
    folders = sorted({n.split("/")[0] for n in names if n.endswith(".safetensors")})
    if folders:
        return f"no weights here, but in subfolders; name one as subfolder: {', '.join(folders)}"
    if any(n.endswith((".bin", ".pt", ".pth", ".ckpt")) for n in names):
        return (
            "only pickle weights, which are not opened; convert them: load the model with transformers "
            "and save_pretrained() it"
        )
    return "no safetensors file here"


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
