"""Endpoints that take files in: upload modes, LFS and Xet transfer, the commit."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import card, xet
from .blobs import CHUNK
from .call import Call
from .errors import HubError
from .exchange import Response, reply
from .repos import Commit, File, Repo, lfs_file, regular_file
from .site import LFS_ENDINGS, LFS_SIZE


def preupload(call: Call) -> Response:
    """How each file is to be sent; and the id of what the path holds now, so that an equal file is not sent."""
    repo = call.repo_to_commit()
    commit = repo.resolve(call.names["rev"])
    files = [_upload_mode(commit, file) for file in call.request.json["files"]]
    return reply({"files": files, "commitOid": commit.sha})


def _upload_mode(commit: Commit, file: dict[str, Any]) -> dict[str, Any]:
    path = file["path"]
    is_lfs = path.lower().endswith(LFS_ENDINGS) or file["size"] >= LFS_SIZE
    answer = {"path": path, "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": False}
    present = commit.files.get(path)
    if present is not None:
        answer["oid"] = present.sha256 if present.is_lfs else present.oid
    return answer


def lfs_batch(call: Call) -> Response:
    """Where to PUT each object; no actions for one that this repo has already."""
    repo = call.site.proposable(call.token, call.kind, call.names["repo"])  # it may be for a pull request
    objects = [_lfs_object(call, repo, item) for item in call.request.json["objects"]]
    return reply({"transfer": "basic", "objects": objects})


def _lfs_object(call: Call, repo: Repo, item: dict[str, Any]) -> dict[str, Any]:
    answer = {"oid": item["oid"], "size": item["size"], "authenticated": True}
    if item["oid"] not in repo.uploads:
        upload = f"{call.storage}/storage/{item['oid']}/{repo.prefix}{repo.id}"
        verify = f"{call.endpoint}/api/{repo.kind}/{repo.id}/lfs-verify"
        answer["actions"] = {"upload": {"href": upload, "header": {}}, "verify": {"href": verify, "header": {}}}
    return answer


def storage_put(call: Call) -> Response:
    """Take the bytes of an LFS object for a repo, if they are what their address says."""
    sha256 = call.names["sha256"]
    repo = call.site.repos.get((call.kind, call.names["repo"]))
    if repo is None:
        raise HubError(404, "Repository not found", "RepoNotFound")
    try:
        call.site.blobs.add(call.request.body, expected=sha256)
    except ValueError as error:
        raise HubError(400, str(error)) from error
    with call.site.lock:
        repo.uploads.append(sha256)
        call.site.save(repo)
    return Response(headers={"ETag": f'"{sha256}"'})


def lfs_verify(call: Call) -> Response:
    repo = call.site.proposable(call.token, call.kind, call.names["repo"])
    oid, size = call.request.json["oid"], call.request.json["size"]
    if oid not in repo.uploads or call.site.blobs.size(oid) != size:
        raise HubError(404, f"LFS object {oid} of {size} bytes is not stored")
    return reply({})


def xet_read_token(call: Call) -> Response:
    call.repo_to_download()
    return _xet_token(call)


def xet_write_token(call: Call) -> Response:
    call.repo_to_commit()
    return _xet_token(call)


def _xet_token(call: Call) -> Response:
    token = xet.token(call.site.xet_folder)
    headers = {
        "X-Xet-Cas-Url": str(token["casUrl"]),
        "X-Xet-Access-Token": str(token["accessToken"]),
        "X-Xet-Token-Expiration": str(token["exp"]),
    }
    return reply(token, headers=headers)


def commit(call: Call) -> Response:
    """One commit from the lines of the body: on top of the branch, or on a new pull request."""
    repo = call.repo_to_commit()
    lines = call.request.json_lines()
    header = next(line["value"] for line in lines if line["key"] == "header")
    base = _base(call, repo, header.get("parentCommit"))
    files = dict(base.files)
    for line in lines:
        if line["key"] != "header":
            CHANGES[line["key"]](call, repo, files, line["value"])
    _check_card(call, base, files)

    pull_request = None
    ref = call.names["rev"]
    if call.request.flag("create_pr"):
        pull_request = repo.open_discussion(header["summary"], call.user, base, "open")
        ref = f"refs/pr/{pull_request.num}"
    made = repo.add_commit(repo.branch(ref), files, header["summary"], header.get("description", ""), call.user)
    call.site.save(repo)
    address = call.web_address(repo)
    return reply(
        {
            "success": True,
            "commitOid": made.sha,
            "commitUrl": f"{address}/commit/{made.sha}",
            "hookOutput": "",
            "pullRequestUrl": f"{address}/discussions/{pull_request.num}" if pull_request else None,
        }
    )


def _base(call: Call, repo: Repo, parent: str | None) -> Commit:
    """The commit to build on. A pull request may start anywhere, a branch only moves on from its head."""
    if call.request.flag("create_pr"):
        return repo.resolve(parent or call.names["rev"])
    head = repo.commits[repo.refs[repo.branch(call.names["rev"])]]
    if parent is not None and not head.sha.startswith(parent):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    return head


def _check_card(call: Call, base: Commit, files: dict[str, File]) -> None:
    readme = files.get("README.md")
    if readme is not None and readme != base.files.get("README.md"):
        errors = card.errors(call.site.blobs.read(readme.sha256).decode(errors="replace"))
        if errors:
            raise HubError(400, f"Invalid metadata in README.md: {'; '.join(errors)}")


def _put_regular(call: Call, repo: Repo, files: dict[str, File], value: dict[str, Any]) -> None:
    content = base64.b64decode(value["content"])
    call.site.blobs.add([content])
    files[value["path"]] = regular_file(content)


def _put_lfs(call: Call, repo: Repo, files: dict[str, File], value: dict[str, Any]) -> None:
    path, sha256 = value["path"], value["oid"]
    file = _sent_by_lfs(call, repo, sha256) or _sent_by_xet(call, sha256)
    if file is None:
        raise HubError(400, f"{path} points to LFS object {sha256}, which was not uploaded")
    if value.get("size", file.size) != file.size:  # a copied file comes without its size
        raise HubError(400, f"{path} is announced with {value['size']} bytes, its LFS object has {file.size}")
    files[path] = file


def _sent_by_lfs(call: Call, repo: Repo, sha256: str) -> File | None:
    return lfs_file(sha256, call.site.blobs.size(sha256)) if sha256 in repo.uploads else None


def _sent_by_xet(call: Call, sha256: str) -> File | None:
    """A file in the Xet folder, now stored like any other too, so that clients without Xet can have it."""
    file = xet.find(call.site.xet_folder, sha256)
    if file is None or call.site.blobs.has(sha256):
        return file
    with tempfile.TemporaryDirectory() as scratch:
        xet.download(call.site.xet_folder, file, Path(scratch) / "file")
        with (Path(scratch) / "file").open("rb") as stream:
            call.site.blobs.add(iter(lambda: stream.read(CHUNK), b""), expected=file.sha256)
    return file


def _delete_file(call: Call, repo: Repo, files: dict[str, File], value: dict[str, Any]) -> None:
    if files.pop(value["path"], None) is None:
        raise HubError(404, f"A file with this name doesn't exist: {value['path']}", "EntryNotFound")


def _delete_folder(call: Call, repo: Repo, files: dict[str, File], value: dict[str, Any]) -> None:
    folder = value["path"].strip("/") + "/"
    inside = [path for path in files if path.startswith(folder)]
    if not inside:
        raise HubError(404, f"A folder with this name doesn't exist: {value['path']}", "EntryNotFound")
    for path in inside:
        del files[path]


CHANGES: dict[str, Callable[[Call, Repo, dict[str, File], dict[str, Any]], None]] = {  # by the key of a commit's line
    "file": _put_regular,
    "lfsFile": _put_lfs,
    "deletedFile": _delete_file,
    "deletedFolder": _delete_folder,
}
