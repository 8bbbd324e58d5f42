"""One request as an endpoint sees it: the state of the Hub, the caller, and what the address names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from .accounts import Token
from .errors import HubError
from .exchange import Request, Response, reply
from .repos import Commit, Repo
from .site import Site

T = TypeVar("T")


@dataclass
class Call:
    """A request that reached its endpoint.

    names: what the placeholders of the route matched, decoded.
    endpoint, storage: addresses of the Hub and of its file storage, without a trailing slash.
    page_size: items in a page of a listing.
    """

    site: Site
    request: Request
    token: Token | None
    names: Mapping[str, str]
    endpoint: str
    storage: str
    page_size: int

    @property
    def kind(self) -> str:
        """models, datasets or spaces."""
        return self.names.get("kind") or "models"

    @property
    def user(self) -> str:
        if self.token is None:
            raise HubError(401, "Invalid username or password.")
        return self.token.user

    def repo(self) -> Repo:
        """The repo of the address, to look at."""
        return self.site.readable(self.token, self.kind, self.names["repo"])

    def repo_to_download(self) -> Repo:
        """The repo of the address, to take files from."""
        return self.site.downloadable(self.token, self.kind, self.names["repo"])

    def repo_to_write(self) -> Repo:
        """The repo of the address, to change."""
        return self.site.writable(self.token, self.kind, self.names["repo"])

    def repo_to_commit(self) -> Repo:
        """The repo of the address, to commit to, be it by way of a new pull request or one of one's own."""
        if self.request.flag("create_pr") or self._is_own_pull_request():
            return self.site.proposable(self.token, self.kind, self.names["repo"])
        return self.repo_to_write()

    def _is_own_pull_request(self) -> bool:
        number = self.names["rev"].removeprefix("refs/pr/")
        return number.isdecimal() and self.repo().discussion(int(number)).author == self.user

    def commit(self) -> Commit:
        """The commit that the revision of the address names; the default branch if it names none."""
        return self.repo().resolve(self.names.get("rev", "main"))

    def web_address(self, repo: Repo) -> str:
        return f"{self.endpoint}/{repo.prefix}{repo.id}"

    def page(self, items: Sequence[T], describe: Callable[[T], Any]) -> Response:
        """One page of items, with the address of the next in a Link header."""
        start = int(self.request.parameter("cursor", "0"))
        stop = start + min(self.page_size, int(self.request.parameter("limit", "1000000")))
        headers = {}
        if stop < len(items):
            query = {**self.request.parameters, "cursor": [str(stop)]}
            address = f"{self.endpoint}{self.request.path}?{urlencode(query, doseq=True)}"
            headers["Link"] = f'<{address}>; rel="next"'
        return reply([describe(item) for item in items[start:stop]], headers=headers)


def quoted(path: str) -> str:
    return quote(path, safe="/")
