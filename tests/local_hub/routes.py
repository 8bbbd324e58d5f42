"""Which endpoint answers which address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from . import api_discussions as talk
from . import api_files as files
from . import api_git as git
from . import api_jobs as jobs
from . import api_repos as repos
from . import api_upload as upload
from .call import Call
from .exchange import Request, Response

Endpoint = Callable[[Call], Response]

PLACEHOLDERS = {
    "kind": r"(?P<kind>models|datasets|spaces)",
    "kind/": r"(?:(?P<kind>datasets|spaces)/)?",  # models have no prefix
    "repo": r"(?P<repo>(?:[^/]+/)?[^/]+)",
    "rev": r"(?P<rev>[^/]+)",
    "path": r"(?P<path>.+)",
    "name": r"(?P<name>[^/]+)",
    "job": r"(?P<job>[0-9a-f]{24})",
    "num": r"(?P<num>\d+)",
    "sha256": r"(?P<sha256>[0-9a-f]{64})",
}

# The first match wins. Names are percent-encoded in addresses: a slash in a revision is %2F.
ROUTES: list[tuple[str, Endpoint]] = [
    ("GET    /api/whoami-v2", repos.whoami),
    ("POST   /api/repos/create", repos.create_repo),
    ("DELETE /api/repos/delete", repos.delete_repo),
    ("POST   /api/validate-yaml", repos.validate_yaml),
    ("PUT    /api/{kind}/{repo}/settings", repos.settings),
    ("GET    /api/{kind}/{repo}/auth-check", repos.auth_check),
    ("GET    /api/{kind}/{repo}/auth-check/write", repos.auth_check_write),
    ("POST   /api/{kind}/{repo}/user-access-request/grant", repos.grant_access),
    ("POST   /api/{kind}/{repo}/preupload/{rev}", upload.preupload),
    ("POST   /{kind/}{repo}.git/info/lfs/objects/batch", upload.lfs_batch),
    ("POST   /api/{kind}/{repo}/lfs-verify", upload.lfs_verify),
    ("GET    /api/{kind}/{repo}/xet-read-token/{rev}", upload.xet_read_token),
    ("GET    /api/{kind}/{repo}/xet-write-token/{rev}", upload.xet_write_token),
    ("POST   /api/{kind}/{repo}/commit/{rev}", upload.commit),
    ("GET    /api/{kind}/{repo}/tree/{rev}", git.tree),
    ("GET    /api/{kind}/{repo}/tree/{rev}/{path}", git.tree),
    ("POST   /api/{kind}/{repo}/paths-info/{rev}", git.paths_info),
    ("GET    /api/{kind}/{repo}/commits/{rev}", git.commits),
    ("GET    /api/{kind}/{repo}/refs", git.refs),
    ("POST   /api/{kind}/{repo}/branch/{name}", git.create_branch),
    ("DELETE /api/{kind}/{repo}/branch/{name}", git.delete_branch),
    ("POST   /api/{kind}/{repo}/tag/{rev}", git.create_tag),
    ("DELETE /api/{kind}/{repo}/tag/{name}", git.delete_tag),
    ("GET    /api/{kind}/{repo}/discussions", talk.discussions),
    ("POST   /api/{kind}/{repo}/discussions", talk.create_discussion),
    ("GET    /api/{kind}/{repo}/discussions/{num}", talk.discussion),
    ("POST   /api/{kind}/{repo}/discussions/{num}/comment", talk.comment),
    ("POST   /api/{kind}/{repo}/discussions/{num}/status", talk.change_status),
    ("POST   /api/{kind}/{repo}/discussions/{num}/merge", talk.merge),
    ("GET    /api/jobs/hardware", jobs.hardware),
    ("POST   /api/jobs/{name}", jobs.run),
    ("GET    /api/jobs/{name}", jobs.jobs),
    ("GET    /api/jobs/{name}/{job}", jobs.inspect),
    ("GET    /api/jobs/{name}/{job}/logs", jobs.logs),
    ("POST   /api/jobs/{name}/{job}/cancel", jobs.cancel),
    ("GET    /api/{kind}/{repo}/revision/{rev}", repos.info),
    ("GET    /api/{kind}", repos.search),
    ("GET    /api/{kind}/{repo}", repos.info),
    ("GET    /{kind/}{repo}/resolve/{rev}/{path}", files.resolve),
]

# On the storage host. Part of the answer to a signed address, therefore without a token.
STORAGE_ROUTES: list[tuple[str, Endpoint]] = [
    ("GET    /storage/{sha256}/{path}", files.storage_get),
    ("PUT    /storage/{sha256}/{kind/}{repo}", upload.storage_put),
]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: re.Pattern[str]
    endpoint: Endpoint


def _compiled(table: list[tuple[str, Endpoint]]) -> list[Route]:
    return [_route(template, endpoint) for template, endpoint in table]


def _route(template: str, endpoint: Endpoint) -> Route:
    method, path = template.split()
    pattern = "".join(
        PLACEHOLDERS[part[1:-1]] if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]+\})", path)
    )
    return Route(method, re.compile(pattern), endpoint)


_ROUTES = _compiled(ROUTES)
_STORAGE_ROUTES = _compiled(STORAGE_ROUTES)


def find(request: Request) -> tuple[Endpoint, Mapping[str, str]]:
    """The endpoint for a request, and what the placeholders of its route stand for."""
    return _find(_ROUTES, request) or (repos.not_found, {})


def find_storage(request: Request) -> tuple[Endpoint, Mapping[str, str]] | None:
    """The same among the storage routes, or None if the request is not for the storage."""
    return _find(_STORAGE_ROUTES, request)


def _find(routes: list[Route], request: Request) -> tuple[Endpoint, Mapping[str, str]] | None:
    method = request.method.replace("HEAD", "GET")
    for route in routes:
        found = route.pattern.fullmatch(request.path) if route.method == method else None
        if found is not None:
            return route.endpoint, {name: unquote(value) for name, value in found.groupdict().items() if value}
    return None
