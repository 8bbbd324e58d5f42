"""Endpoints that hand files out: whole or by range, from the Hub or from its storage."""

from __future__ import annotations

import re

from .call import Call, quoted
from .errors import HubError
from .exchange import Response
from .repos import Commit, File, Repo


def resolve(call: Call) -> Response:
    """A file at a revision: its bytes, or for LFS the way to them."""
    repo, commit, path = call.repo_to_download(), call.commit(), call.names["path"]
    file = commit.file(path)
    if file.is_lfs:
        return _redirect(call, repo, commit, path, file)
    response = _content(call, file)
    response.headers |= {"X-Repo-Commit": commit.sha, "ETag": f'"{file.oid}"'}
    return response


def _redirect(call: Call, repo: Repo, commit: Commit, path: str, file: File) -> Response:
    """To the storage host. Its address repeats the path, for the reader of the log."""
    address = f"{call.storage}/storage/{file.sha256}/{repo.prefix}{repo.id}/resolve/{commit.sha}/{quoted(path)}"
    headers = {
        "Location": address,
        "X-Repo-Commit": commit.sha,
        "X-Linked-Size": str(file.size),
        "X-Linked-Etag": f'"{file.sha256}"',
        "ETag": f'"{file.sha256}"',
    }
    if file.xet_hash:
        token = f"{call.endpoint}/api/{repo.kind}/{repo.id}/xet-read-token/{commit.sha}"
        headers |= {"X-Xet-Hash": file.xet_hash, "Link": f'<{token}>; rel="xet-auth"'}
    return Response(302, headers)


def storage_get(call: Call) -> Response:
    """The bytes of an LFS object. Who knows the address may have them, as with a signed address."""
    sha256 = call.names["sha256"]
    if not call.site.blobs.has(sha256):
        raise HubError(404, f"LFS object {sha256} is not stored")
    file = File(sha256, sha256, call.site.blobs.size(sha256))
    response = _content(call, file)
    response.headers["ETag"] = f'"{sha256}"'
    return response


def _content(call: Call, file: File) -> Response:
    """The bytes that the Range header asks for, or all."""
    wanted = call.request.headers.get("Range")
    start, stop = (0, file.size) if wanted is None else _bounds(wanted, file.size)
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    body = call.site.blobs.chunks(file.sha256, start, stop)
    return Response(200 if wanted is None else 206, headers, body, stop - start)


def _bounds(wanted: str, size: int) -> tuple[int, int]:
    """First byte and end of "bytes=a-b", "bytes=a-" or "bytes=-n"; 416 when nothing of it exists."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if found is None or found[0] == "bytes=-":
        raise HubError(416, f"Range not understood: {wanted}", headers={"Content-Range": f"bytes */{size}"})
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        raise HubError(416, f"Range not satisfiable: {wanted}", headers={"Content-Range": f"bytes */{size}"})
    return start, stop
