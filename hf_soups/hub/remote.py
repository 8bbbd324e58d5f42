"""The files of a Hub repository at one commit, read by byte range without downloading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hf_soups.errors import HubError
from hf_soups.hub.errors import explained

RETRIED = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class RemoteFile:
    """One file at one commit."""

    url: str
    size: int
    where: str
    token: str | None

    def read(self, start: int, length: int) -> bytes:
        if length == 0:
            return b""
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

        headers = build_hf_headers(token=self.token, library_name="hf_soups")
        headers["Range"] = f"bytes={start}-{start + length - 1}"
        with explained(self.where):
            response = http_backoff(
                "GET", self.url, headers=headers, follow_redirects=True, retry_on_status_codes=RETRIED
            )
            hf_raise_for_status(response)
        content: bytes = response.content
        if response.status_code == 200:  # a server may ignore the range and send it all
            content = content[start : start + length]
        if len(content) != length:
            raise HubError(f"{self.where}: sent {len(content):,} of {length:,} bytes; try again")
        return content

    def read_into(self, start: int, into: np.ndarray) -> None:
        into[:] = np.frombuffer(self.read(start, len(into)), np.uint8)

    def confirm(self) -> None:
        """A commit does not change."""


@dataclass(frozen=True)
class RemoteFiles:
    """The files below a (sub)folder of a repository at a full commit id.

    sizes: bytes of every file of the repository, by its path there.
    """

    repo: str
    sha: str
    sizes: Mapping[str, int]
    subfolder: str | None = None
    token: str | None = None

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
        return RemoteFile(url, self.sizes[path], f"{self.where}/{name}", self.token)

    @property
    def _prefix(self) -> str:
        return f"{self.subfolder.strip('/')}/" if self.subfolder else ""
