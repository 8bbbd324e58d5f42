"""Publish a soup: weights uploaded one file after the other, then everything visible in one commit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups.errors import HubError
from hf_soups.hub.errors import explained
from hf_soups.hub.finished import finished

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd


@dataclass(frozen=True)
class Pushed:
    """Where a soup is now.

    sha: of the commit; url: of the commit, or of the pull request.
    """

    repo: str
    sha: str
    url: str


class Push:
    """A push under way: nothing is visible before `commit`, which is on top of the head that the branch has now.

    repo: created if there is none, and then empty until the commit.
    Raises HubError if the repository cannot be written to.
    """

    def __init__(
        self,
        repo: str,
        *,
        private: bool = False,
        create_pr: bool = False,
        token: str | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        from huggingface_hub import HfApi

        self._api = HfApi(library_name="hf_soups", token=token)
        self._create_pr = create_pr
        self._tell = tell
        self._additions: dict[str, CommitOperationAdd] = {}
        with explained(repo):
            self.repo: str = self._api.create_repo(repo, private=private, exist_ok=True).repo_id
            self._head = self._api.model_info(self.repo)

    def upload(self, file: Path) -> bool:
        """Send a weight file; true if the Hub has it now, so that it is not needed here any more."""
        from huggingface_hub import CommitOperationAdd

        self._tell(f"uploading {file.name}")
        with explained(f"{self.repo}/{file.name}"):
            addition = CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file)
            self._api.preupload_lfs_files(self.repo, additions=[addition], create_pr=self._create_pr)
        self._additions[file.name] = addition
        return addition.path_or_fileobj == b""  # emptied by the client; it keeps what goes into the commit itself

    def commit(self, folder: Path, names: Collection[str]) -> Pushed:
        """Publish what was uploaded and the other files of the folder at once.

        Stale top-level weights of an earlier push are deleted in the same commit, and afterwards the remote checksums
        are compared. Raises HubError if the branch moved since the push began; nothing is published then.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with explained(self.repo):
            for name in names:
                if name not in self._additions:
                    self._additions[name] = CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
            present = {s.rfilename for s in self._head.siblings or []}
            stale = sorted(n for n in present if _is_stale(n, self._additions))
            commit = self._api.create_commit(
                self.repo,
                [*self._additions.values(), *(CommitOperationDelete(path_in_repo=n) for n in stale)],
                commit_message="Upload soup with hf_soups",
                parent_commit=self._head.sha,
                create_pr=self._create_pr,
            )
            self._tell("comparing the remote checksums")
            self._compare(folder, commit.oid)
        return Pushed(self.repo, commit.oid, commit.pr_url or commit.commit_url)

    def _compare(self, folder: Path, sha: str) -> None:
        entries = {e.path: e for e in self._api.get_paths_info(self.repo, list(self._additions), revision=sha)}
        for name, addition in self._additions.items():
            if not _is_same(entries.get(name), addition, folder / name):
                raise HubError(
                    f"{self.repo}@{sha[:12]}/{name}: not what was sent; the commit before was {self._head.sha}"
                )


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = False,
    create_pr: bool = False,
    token: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Pushed:
    """Publish a finished folder, as `Push` does; CheckpointError if it is not a finished soup."""
    names = finished(folder)
    under_way = Push(repo, private=private, create_pr=create_pr, token=token, tell=tell)
    for name in names:
        if name.endswith(".safetensors") and "/" not in name:
            under_way.upload(folder / name)
    return under_way.commit(folder, names)


def _is_stale(name: str, names: Collection[str]) -> bool:
    """Would this file of an earlier push make the new weights load as something else? Subfolders are not ours."""
    weights = name.endswith((".safetensors", ".safetensors.index.json")) or name == "adapter_config.json"
    return weights and "/" not in name and name not in names


def _is_same(entry: Any, addition: CommitOperationAdd, file: Path) -> bool:
    if entry is None:
        return False
    if entry.lfs:
        return bool(entry.lfs.sha256 == addition.upload_info.sha256.hex())
    content = file.read_bytes()
    return bool(entry.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())
