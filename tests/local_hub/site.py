"""Everything the Hub remembers (accounts, blobs, repos), and who may see or change what."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

from .accounts import Accounts, Token
from .blobs import Blobs
from .errors import HubError
from .jobs import Jobs
from .repos import MAIN, Repo, load, regular_file, save

# Files with these endings are stored as LFS, whatever their size.
LFS_ENDINGS = (
    ".arrow", ".bin", ".bz2", ".ckpt", ".gguf", ".gz", ".h5", ".jpg", ".model", ".msgpack", ".npy", ".npz",
    ".onnx", ".parquet", ".pickle", ".pkl", ".png", ".pt", ".pth", ".safetensors", ".tar", ".tflite", ".zip",
)  # fmt: skip
LFS_SIZE = 10_000_000  # bytes from which any file is stored as LFS

ACCESS_DENIED = "Access to model {id} is restricted and you are not in the authorized list."


class Site:
    """The state of a Hub, kept in a folder.

    folder: a folder that an earlier Site wrote is taken up again.
    lock: held while a request is answered, except for the transfer of LFS objects.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.blobs = Blobs(folder / "blobs")
        self.xet_folder = folder / "xet"
        self.accounts = Accounts()
        self.jobs = Jobs()
        self.repos: dict[tuple[str, str], Repo] = {}
        if (folder / "orgs.json").exists():
            self.accounts.orgs = json.loads((folder / "orgs.json").read_text(encoding="utf-8"))
        for path in sorted((folder / "repos").glob("*/*/*.json")):
            repo = load(path)
            self.repos[repo.kind, repo.id] = repo

    def save(self, repo: Repo) -> None:
        save(repo, self._repo_path(repo))

    def _repo_path(self, repo: Repo) -> Path:
        return self.folder / "repos" / repo.kind / f"{repo.id}.json"

    def create_org(self, name: str, members: list[str]) -> None:
        with self.lock:
            self.accounts.orgs[name] = members
            (self.folder / "orgs.json").write_text(json.dumps(self.accounts.orgs), encoding="utf-8")

    def create_repo(self, token: Token | None, repo: Repo) -> Repo:
        """Add a repo, born with a commit that holds .gitattributes."""
        self._require_writer(token, repo.namespace)
        if not re.fullmatch(r"[\w-][\w.-]*", repo.id.removeprefix(f"{repo.namespace}/")):
            raise HubError(400, f"Invalid repo name: {repo.id}")
        if (repo.kind, repo.id) in self.repos:
            raise HubError(409, "You already created this model repo")
        attributes = "".join(f"*{end} filter=lfs diff=lfs merge=lfs -text\n" for end in LFS_ENDINGS).encode()
        self.blobs.add([attributes])
        files = {".gitattributes": regular_file(attributes)}
        repo.add_commit(MAIN, files, "initial commit", "", repo.namespace)
        self.repos[repo.kind, repo.id] = repo
        self.save(repo)
        return repo

    def delete_repo(self, token: Token | None, kind: str, repo_id: str) -> None:
        repo = self.writable(token, kind, repo_id)
        del self.repos[kind, repo_id]
        self._repo_path(repo).unlink()

    def sees(self, token: Token | None, repo: Repo) -> bool:
        """May the caller know that the repo exists?"""
        return not repo.private or (token is not None and self.accounts.owns(token.user, repo.namespace))

    def readable(self, token: Token | None, kind: str, repo_id: str) -> Repo:
        """The repo, if the caller may see it; a missing and a private one look alike."""
        repo = self.repos.get((kind, repo_id))
        if repo is not None and self.sees(token, repo):
            return repo
        if token is None:
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        raise HubError(404, "Repository not found", "RepoNotFound")

    def downloadable(self, token: Token | None, kind: str, repo_id: str) -> Repo:
        """The repo, if the caller may also have its files, that is, has passed the gate."""
        repo = self.readable(token, kind, repo_id)
        if not repo.gated:
            return repo
        if token is None:
            raise HubError(401, ACCESS_DENIED.format(id=repo_id) + " Please log in.", "GatedRepo")
        if token.user not in repo.granted and not self.accounts.owns(token.user, repo.namespace):
            raise HubError(403, ACCESS_DENIED.format(id=repo_id), "GatedRepo")
        return repo

    def writable(self, token: Token | None, kind: str, repo_id: str) -> Repo:
        """The repo, if the caller may change it."""
        repo = self.readable(token, kind, repo_id)
        self._require_writer(token, repo.namespace)
        return repo

    def proposable(self, token: Token | None, kind: str, repo_id: str) -> Repo:
        """The repo, if the caller may open a discussion or pull request there: anyone who can read it."""
        repo = self.downloadable(token, kind, repo_id)
        self._require_write_token(token)
        return repo

    def _require_writer(self, token: Token | None, namespace: str) -> None:
        writer = self._require_write_token(token)
        if not self.accounts.owns(writer.user, namespace):
            raise HubError(403, f'You don\'t have the rights to write under the namespace "{namespace}"')

    def _require_write_token(self, token: Token | None) -> Token:
        if token is None:
            raise HubError(401, "Invalid username or password.")
        if token.role != "write":
            raise HubError(403, "You must use a write token to upload to a repository.")
        return token
