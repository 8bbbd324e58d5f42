"""Endpoints about discussions and pull requests."""

from __future__ import annotations

from typing import Any

from .call import Call
from .errors import HubError
from .exchange import Response, reply
from .repos import Discussion, Repo, now


def discussions(call: Call) -> Response:
    """All of them in one page, newest first."""
    repo = call.repo()
    found = [_summary(repo, item) for item in reversed(repo.discussions) if _passes(call, item)]
    closed = sum(item.status in ("closed", "merged") for item in repo.discussions)
    return reply({"discussions": found, "count": len(found), "start": 0, "numClosedDiscussions": closed})


def _passes(call: Call, item: Discussion) -> bool:
    kinds = {"all": (True, False), "pull_request": (True,), "discussion": (False,)}
    states = {"all": ("draft", "open", "closed", "merged"), "open": ("draft", "open"), "closed": ("closed", "merged")}
    return (
        item.is_pull_request in kinds[call.request.parameter("type", "all")]
        and item.status in states[call.request.parameter("status", "all")]
        and item.author == call.request.parameter("author", item.author)
    )


def _summary(repo: Repo, item: Discussion) -> dict[str, Any]:
    return {
        "num": item.num,
        "author": {"name": item.author},
        "title": item.title,
        "status": item.status,
        "isPullRequest": item.is_pull_request,
        "createdAt": item.created_at,
        "repo": {"name": repo.id, "type": repo.kind.removesuffix("s")},
    }


def create_discussion(call: Call) -> Response:
    """Open a discussion; or a pull request without changes yet, which is a draft."""
    repo = call.site.proposable(call.token, call.kind, call.names["repo"])
    body = call.request.json
    is_pull_request = bool(body.get("pullRequest"))
    base = repo.resolve("main") if is_pull_request else None
    opened = repo.open_discussion(body["title"], call.user, base, "draft" if is_pull_request else "open")
    _add_comment(opened, call.user, body.get("description", ""))
    call.site.save(repo)
    return reply({"num": opened.num, "pullRequest": is_pull_request})


def discussion(call: Call) -> Response:
    repo = call.repo()
    item = repo.discussion(int(call.names["num"]))
    changes = {"base": "refs/heads/main", "mergeCommitId": item.merged_as}
    details = {"events": item.events, "filesWithConflicts": [], "changes": changes, "diffUrl": None}
    return reply({**_summary(repo, item), **details})


def comment(call: Call) -> Response:
    repo = call.repo_to_download()
    item = repo.discussion(int(call.names["num"]))
    event = _add_comment(item, call.user, call.request.json["comment"])
    call.site.save(repo)
    return reply({"newMessage": event})


def change_status(call: Call) -> Response:
    """By who may write here, or by the author."""
    repo = call.repo()
    item = repo.discussion(int(call.names["num"]))
    if call.token is None or call.token.role != "write" or call.token.user != item.author:
        call.repo_to_write()
    item.status = call.request.json["status"]
    event = _add_event(item, call.user, "status-change", {"status": item.status})
    call.site.save(repo)
    return reply({"newStatus": event})


def merge(call: Call) -> Response:
    repo = call.repo_to_write()
    item = repo.discussion(int(call.names["num"]))
    if not item.is_pull_request or item.status not in ("open", "draft"):
        raise HubError(400, "Only an open pull request can be merged")
    repo.merge(item, call.user)
    _add_event(item, call.user, "status-change", {"status": "merged"})
    call.site.save(repo)
    return reply({})


def _add_comment(item: Discussion, author: str, text: str) -> dict[str, Any]:
    return _add_event(item, author, "comment", {"edited": False, "hidden": False, "latest": {"raw": text}})


def _add_event(item: Discussion, author: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {
        "id": f"{item.num}-{len(item.events)}",
        "type": kind,
        "createdAt": now(),
        "author": {"name": author},
        "data": data,
    }
    item.events.append(event)
    return event
