"""Publish a finished folder: weights uploaded first, then everything visible in one commit."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hf_soups.errors import CheckpointError, HubError
from hf_soups.hub.errors import explained

BLOCK = 1 << 22


@dataclass(frozen=True)
class Pushed:
    """Where a soup is now.

    sha: of the commit; url: of the commit, or of the pull request.
    """

    repo: str
    sha: str
    url: str


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    token: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Pushed:
    """Upload each weight file, then commit all files at once on top of the branch's present head.

    Stale top-level weights of an earlier push are deleted in the same commit, and afterwards the remote checksums
    are compared with the local files. Raises HubError if the branch moved meanwhile (nothing is
    published then), and CheckpointError if the folder is not a finished soup.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    names = _finished(folder)
    api = HfApi(library_name="hf_soups", token=token)
    with explained(repo):
        created = api.create_repo(repo, private=private, exist_ok=True)
        repo = created.repo_id
        head = api.model_info(repo)
        additions = [CommitOperationAdd(path_in_repo=n, path_or_fileobj=folder / n) for n in names]
        for addition in additions:
            if addition.path_in_repo.endswith(".safetensors"):
                tell(f"uploading {addition.path_in_repo}")
                api.preupload_lfs_files(repo, additions=[addition], create_pr=create_pr)
        present = {s.rfilename for s in head.siblings or []}
        stale = sorted(n for n in present if _is_stale(n, names))
        commit = api.create_commit(
            repo,
            [*additions, *(CommitOperationDelete(path_in_repo=n) for n in stale)],
            commit_message="Upload soup with hf_soups",
            parent_commit=head.sha,
            create_pr=create_pr,
        )
        tell("comparing the remote checksums")
        _compare(api, folder, names, repo, commit.oid, str(head.sha))
    return Pushed(repo, commit.oid, commit.pr_url or commit.commit_url)


def _finished(folder: Path) -> list[str]:
    """The names of a finished soup's files, each as its lock describes it: size and CRC-32."""
    lock = folder / "soup.lock.json"
    outputs = _outputs(lock)
    for name, (size, checksum) in outputs.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size or _crc32(file) != checksum:
            raise CheckpointError(f"{file}: not as soup.lock.json describes it; merge again")
    return [*sorted(outputs), lock.name]


def _outputs(lock: Path) -> dict[str, tuple[int, str]]:
    """File name → bytes and checksum, as a lock says; CheckpointError if it is no lock of ours."""
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))["outputs"]
        outputs = {name: (int(entry["bytes"]), str(entry["checksum"])) for name, entry in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{lock.parent}: no readable soup.lock.json, so not a finished soup") from error
    for name in outputs:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
            raise CheckpointError(f"{lock}: names {name!a}, which is not a file of this folder; merge again")
    if not outputs:
        raise CheckpointError(f"{lock.parent}: soup.lock.json names no files, so not a finished soup")
    return outputs


def _is_stale(name: str, names: Collection[str]) -> bool:
    """Would this file of an earlier push make the new weights load as something else? Subfolders are not ours."""
    weights = name.endswith((".safetensors", ".safetensors.index.json")) or name == "adapter_config.json"
    return weights and "/" not in name and name not in names


def _compare(api: Any, folder: Path, names: list[str], repo: str, sha: str, before: str) -> None:
    entries = {e.path: e for e in api.get_paths_info(repo, names, revision=sha)}
    for name in names:
        entry = entries.get(name)
        lfs = entry.lfs.sha256 if entry is not None and entry.lfs else None
        same = entry is not None and (lfs == _sha256(folder / name) if lfs else entry.blob_id == _blob(folder / name))
        if not same:
            raise HubError(f"{repo}@{sha[:12]}/{name}: not what was sent; the commit before was {before}")


def _crc32(path: Path) -> str:
    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return f"crc32:{checksum:08x}"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _blob(path: Path) -> str:
    """Git's name for a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
