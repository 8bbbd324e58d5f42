"""The model that a sweep starts from: its files on this disk, and what tells them apart from any other model's."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hf_soups.errors import CheckpointError, HubError

# Never pickles, never code.
_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "README.md")


def fetch(model: str, *, token: str | None = None) -> Path:
    """The folder with the model's files; those of a Hub model are downloaded once."""
    folder = Path(model) if Path(model).is_absolute() else _download(model, token)
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{model}: has no config.json; name a folder or a repository with a transformers model")
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{model}: has no *.safetensors; save it again with save_pretrained (pickles stay closed)"
        )
    return folder


def identity(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that decide what is loaded."""
    content = hashlib.sha256()
    for file in sorted(p for pattern in _FILES for p in folder.glob(pattern) if p.name != "README.md"):
        content.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as handle:
            while block := handle.read(1 << 20):
                content.update(block)
    return f"sha256:{content.hexdigest()}"


def public_name(model: str) -> str | None:
    """The model's id on the Hub, if the sweep names it by that."""
    return None if Path(model).is_absolute() else model.split("@")[0]


def revision(model: str) -> str | None:
    """What follows the @ of a Hub id."""
    return None if Path(model).is_absolute() else model.partition("@")[2] or None


def _download(model: str, token: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(model.split("@")[0], revision=revision(model), allow_patterns=list(_FILES), token=token)
        )
    except HFValidationError as error:
        raise CheckpointError(f"{model}: neither a folder nor a Hub id") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise HubError(f"{model}: no such folder here, and the Hub does not give it: {reason}") from error
