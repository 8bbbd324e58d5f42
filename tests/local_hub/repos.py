"""Repos as git sees them: files, commits, refs and pull requests, without a working tree."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .errors import HubError

MAIN = "refs/heads/main"


def now() -> str:
    """The current time as the Hub writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def git_oid(content: bytes) -> str:
    """The id that git gives to a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class File:
    """One file of a commit; its bytes are the blob `sha256`."""

    oid: str  # git's id: of the content, or of the pointer of an LFS file
    sha256: str
    size: int  # bytes of content
    pointer_size: int | None = None  # bytes of the pointer; None for a file that is not LFS
    xet_hash: str | None = None  # only for files that arrived by the Xet dialect

    @property
    def is_lfs(self) -> bool:
        return self.pointer_size is not None


def regular_file(content: bytes) -> File:
    return File(git_oid(content), hashlib.sha256(content).hexdigest(), len(content))


def lfs_file(sha256: str, size: int, xet_hash: str | None = None) -> File:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
    return File(git_oid(pointer), sha256, size, len(pointer), xet_hash)


@dataclass(frozen=True)
class Commit:
    """A snapshot of all files, and who made it from which parent."""

    sha: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: Mapping[str, File]  # by path

    def file(self, path: str) -> File:
        if path not in self.files:
            raise self.no_entry(path)
        return self.files[path]

    def no_entry(self, path: str) -> HubError:
        """There is no such file or folder here: clients remember that, hence the header."""
        return HubError(404, f"Entry not found: {path}", "EntryNotFound", {"X-Repo-Commit": self.sha})


@dataclass
class Discussion:
    """A discussion, or a pull request whose commits live on refs/pr/<num>."""

    num: int
    title: str
    author: str
    is_pull_request: bool
    status: str = "open"  # draft | open | closed | merged
    base: str = ""  # commit that a pull request started from
    merged_as: str | None = None
    created_at: str = field(default_factory=now)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Repo:
    """A model, dataset or Space with its whole history."""

    kind: str  # models | datasets | spaces
    id: str  # namespace/name
    private: bool = False
    gated: str | bool = False  # False | "auto" | "manual"
    sdk: str | None = None  # of a Space
    downloads: int = 0  # as said, not counted
    created_at: str = field(default_factory=now)
    granted: list[str] = field(default_factory=list)  # users let in through the gate
    uploads: list[str] = field(default_factory=list)  # sha256 of the LFS objects sent to this repo
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)  # full ref name → commit sha
    discussions: list[Discussion] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    @property
    def prefix(self) -> str:
        """What precedes the id in a web address."""
        return "" if self.kind == "models" else f"{self.kind}/"

    def resolve(self, revision: str) -> Commit:
        """The commit that a branch, tag, full ref or (abbreviated) sha names."""
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            found = [commit for sha, commit in self.commits.items() if sha.startswith(revision)]
            if len(found) == 1:
                return found[0]
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def branch(self, revision: str) -> str:
        """The full name of the branch or pull request ref that a commit may be added to."""
        for ref in (revision, f"refs/heads/{revision}"):
            if ref in self.refs and not ref.startswith("refs/tags/"):
                return ref
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, commit: Commit) -> list[Commit]:
        """The commit and its ancestors, newest first."""
        found = [commit]
        while found[-1].parent is not None:
            found.append(self.commits[found[-1].parent])
        return found

    def add_commit(self, ref: str, files: Mapping[str, File], title: str, message: str, author: str) -> Commit:
        """Move the ref to a new commit with exactly these files."""
        parent = self.refs.get(ref)
        identity = repr((self.kind, self.id, parent, title, sorted(files.items()), time.time_ns()))
        sha = hashlib.sha1(identity.encode()).hexdigest()
        commit = Commit(sha, parent, title, message, author, now(), dict(files))
        self.commits[sha] = commit
        self.refs[ref] = sha
        return commit

    def discussion(self, num: int) -> Discussion:
        if not 1 <= num <= len(self.discussions):
            raise HubError(404, f"Discussion {num} not found", "DiscussionNotFound")
        return self.discussions[num - 1]

    def open_discussion(self, title: str, author: str, base: Commit | None, status: str) -> Discussion:
        """Start a discussion; with a base commit, a pull request."""
        discussion = Discussion(len(self.discussions) + 1, title, author, base is not None, status)
        self.discussions.append(discussion)
        if base is not None:
            discussion.base = base.sha
            self.refs[f"refs/pr/{discussion.num}"] = base.sha
        return discussion

    def merge(self, discussion: Discussion, author: str) -> Commit:
        """Apply what a pull request changed to main. Conflicts are not looked for: the pull request wins."""
        before = self.commits[discussion.base].files
        after = self.resolve(f"refs/pr/{discussion.num}").files
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        files = {path: file for path, file in self.resolve("main").files.items() if path not in changed}
        files |= {path: file for path, file in after.items() if path in changed}
        commit = self.add_commit(MAIN, files, discussion.title, "", author)
        discussion.status, discussion.merged_as = "merged", commit.sha
        return commit


def save(repo: Repo, path: Path) -> None:
    """Write a repo as JSON, all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(repo)), encoding="utf-8")
    os.replace(partial, path)


def load(path: Path) -> Repo:
    """Read what save wrote."""
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["discussions"] = [Discussion(**item) for item in fields["discussions"]]
    fields["commits"] = {sha: _load_commit(item) for sha, item in fields["commits"].items()}
    return Repo(**fields)


def _load_commit(fields: dict[str, Any]) -> Commit:
    files = {path: File(**file) for path, file in fields.pop("files").items()}
    return Commit(**fields, files=files)
