"""The files of a Hub repository at one commit, read by byte range without downloading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from hf_soups.errors import HubError
from hf_soups.hub.ahead import Blocks, Reading
from hf_soups.hub.ranges import RemoteFile


@dataclass(frozen=True)
class RemoteFiles:
    """The files below a (sub)folder of a repository at a full commit id.

    sizes: bytes of every file of the repository, by its path there; sha256: of those stored as large files.
    reading: how they are read.
    """

    repo: str
    sha: str
    sizes: Mapping[str, int]
    subfolder: str | None = None
    token: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)

    @property
    def where(self) -> str:
        return "/".join(filter(None, [f"{self.repo}@{self.sha[:12]}", self.subfolder]))

    def names(self) -> list[str]:
        return sorted(n[len(self._prefix) :] for n in self.sizes if n.startswith(self._prefix))

    def source(self, name: str) -> RemoteFile:
        from huggingface_hub import hf_hub_url

        path = self._prefix + name
        if path not in self.sizes:
            raise HubError(f"{self.where}/{name}: no such file in the repository")
        url = hf_hub_url(self.repo, path, revision=self.sha)
        where, digest = f"{self.where}/{name}", self.sha256.get(path)
        return RemoteFile(url, self.sizes[path], where, self.token, self.sha, digest, self.reading, self._blocks)

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self.reading)

    @property
    def _prefix(self) -> str:
        return f"{self.subfolder.strip('/')}/" if self.subfolder else ""
