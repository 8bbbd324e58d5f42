"""Endpoints about the inside of a repo: trees, commits, branches and tags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from .call import Call
from .errors import HubError
from .exchange import Response, reply
from .repos import MAIN, Commit, File


def tree(call: Call) -> Response:
    commit = call.commit()
    folder = call.names.get("path", "").strip("/")
    inside = f"{folder}/" if folder else ""
    paths = [path for path in entries(commit) if path.startswith(inside) and path != inside]
    if folder and not paths:
        raise commit.no_entry(folder)
    if not call.request.flag("recursive"):
        paths = [path for path in paths if "/" not in path.removeprefix(inside)]
    return call.page(paths, lambda path: _entry(call, commit, path))


def paths_info(call: Call) -> Response:
    """Entries for the paths in the body; those that do not exist are left out."""
    commit = call.commit()
    known = entries(commit)
    paths = [path.strip("/") for path in call.request.fields().get("paths", [])]
    return reply([_entry(call, commit, path) for path in paths if path in known])


def entries(commit: Commit) -> Mapping[str, File | None]:
    """Files, and folders as None, in order of path."""
    folders = {path.rsplit("/", depth)[0]: None for path in commit.files for depth in range(1, path.count("/") + 1)}
    return dict(sorted({**folders, **commit.files}.items()))


def _entry(call: Call, commit: Commit, path: str) -> dict[str, Any]:
    file = commit.files.get(path)
    entry = _folder_entry(commit, path) if file is None else file_entry(path, file)
    if call.request.flag("expand") or "true" in [value.lower() for value in _body_field(call, "expand")]:
        last = next(found for found in call.repo().history(commit) if _touched(call, found, path))
        entry["lastCommit"] = {"id": last.sha, "title": last.title, "date": last.date}
        if file is not None:
            entry["securityFileStatus"] = {"status": "safe", "avScan": None, "pickleImportScan": None}
    return entry


def _body_field(call: Call, name: str) -> list[str]:
    return call.request.fields().get(name, []) if call.request.method == "POST" else []


def _touched(call: Call, commit: Commit, path: str) -> bool:
    """Did the commit change the path, or a file below it?"""
    before = call.repo().commits[commit.parent].files if commit.parent else {}
    return _below(before, path) != _below(commit.files, path)


def _below(files: Mapping[str, File], path: str) -> dict[str, File]:
    return {name: file for name, file in files.items() if name == path or name.startswith(f"{path}/")}


def _folder_entry(commit: Commit, path: str) -> dict[str, Any]:
    content = repr(sorted(_below(commit.files, path).items()))
    return {"type": "directory", "oid": hashlib.sha1(content.encode()).hexdigest(), "size": 0, "path": path}


def file_entry(path: str, file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
    if file.is_lfs:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    if file.xet_hash:
        entry["xetHash"] = file.xet_hash
    return entry


def commits(call: Call) -> Response:
    return call.page(
        call.repo().history(call.commit()),
        lambda commit: {
            "id": commit.sha,
            "title": commit.title,
            "message": commit.message,
            "date": commit.date,
            "authors": [{"user": commit.author}],
        },
    )


def refs(call: Call) -> Response:
    repo = call.repo()

    def under(prefix: str) -> list[dict[str, str]]:
        return [
            {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": sha}
            for ref, sha in repo.refs.items()
            if ref.startswith(prefix)
        ]

    found = {"branches": under("refs/heads/"), "tags": under("refs/tags/"), "converts": []}
    if call.request.flag("include_prs"):
        found["pullRequests"] = under("refs/pr/")
    return reply(found)


def create_branch(call: Call) -> Response:
    start = call.request.json.get("startingPoint", "main")
    return _create_ref(call, f"refs/heads/{call.names['name']}", start, status=201)


def create_tag(call: Call) -> Response:
    return _create_ref(call, f"refs/tags/{call.request.json['tag']}", call.names["rev"], status=200)


def _create_ref(call: Call, ref: str, start: str, status: int) -> Response:
    repo = call.repo_to_write()
    if ref in repo.refs:
        raise HubError(409, f"Reference already exists: {ref}")
    repo.refs[ref] = repo.resolve(start).sha
    call.site.save(repo)
    return reply({}, status)


def delete_branch(call: Call) -> Response:
    return _delete_ref(call, f"refs/heads/{call.names['name']}")


def delete_tag(call: Call) -> Response:
    return _delete_ref(call, f"refs/tags/{call.names['name']}")


def _delete_ref(call: Call, ref: str) -> Response:
    repo = call.repo_to_write()
    if ref == MAIN:
        raise HubError(403, "The default branch cannot be deleted")
    if repo.refs.pop(ref, None) is None:
        raise HubError(404, f"Invalid rev id: {ref}", "RevisionNotFound")
    call.site.save(repo)
    return reply({})
