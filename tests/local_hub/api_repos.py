"""Endpoints about accounts and whole repos: create, configure, describe, list, delete."""

from __future__ import annotations

from typing import Any

from . import card
from .call import Call
from .errors import HubError
from .exchange import Response, reply
from .facts import View, facts, tags
from .repos import Repo


def whoami(call: Call) -> Response:
    user = call.user
    assert call.token is not None
    return reply(
        {
            "type": "user",
            "id": user,
            "name": user,
            "fullname": user.title(),
            "email": f"{user}@example.com",
            "isPro": False,
            "orgs": [{"type": "org", "name": org} for org in call.site.accounts.orgs_of(user)],
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": f"{user}-{call.token.role}", "role": call.token.role},
            },
        }
    )


def create_repo(call: Call) -> Response:
    kind, repo_id = _named_in_body(call)
    body = call.request.json
    private = body.get("visibility") == "private" or bool(body.get("private"))
    repo = Repo(kind, repo_id, private=private, sdk=body.get("sdk"))
    existing = call.site.repos.get((kind, repo_id))
    if existing is not None and call.site.sees(call.token, existing):
        message = f"You already created this {kind.removesuffix('s')} repo"
        return reply({"error": message, **_address(call, existing)}, 409)
    return reply(_address(call, call.site.create_repo(call.token, repo)))


def delete_repo(call: Call) -> Response:
    call.site.delete_repo(call.token, *_named_in_body(call))
    return reply({})


def _named_in_body(call: Call) -> tuple[str, str]:
    body = call.request.json
    namespace = body.get("organization") or call.user
    return f"{body.get('type') or 'model'}s", f"{namespace}/{body['name']}"


def _address(call: Call, repo: Repo) -> dict[str, str]:
    return {"url": call.web_address(repo), "name": repo.id, "id": repo.id}


def settings(call: Call) -> Response:
    repo, body = call.repo_to_write(), call.request.json
    if "visibility" in body or "private" in body:
        repo.private = body.get("visibility") == "private" or bool(body.get("private"))
    repo.gated = body.get("gated", repo.gated)
    call.site.save(repo)
    return reply({"private": repo.private, "gated": repo.gated})


def grant_access(call: Call) -> Response:
    repo = call.repo_to_write()
    repo.granted.append(call.request.json["user"])
    call.site.save(repo)
    return reply({})


def auth_check(call: Call) -> Response:
    call.repo_to_download()
    return reply({})


def auth_check_write(call: Call) -> Response:
    call.repo_to_write()
    return reply({})


def info(call: Call) -> Response:
    view = View(call.repo(), call.commit(), call.site.blobs)
    return reply(facts(view, call.request.parameters.get("expand"), call.request.flag("blobs")))


def search(call: Call) -> Response:
    """Repos that the caller may see and that pass every filter, newest or most downloaded first."""
    repos = [repo for repo in call.site.repos.values() if repo.kind == call.kind and call.site.sees(call.token, repo)]
    views = [View(repo, repo.resolve("main"), call.site.blobs) for repo in repos]
    found = sorted((view for view in views if _passes(call, view)), key=lambda view: view.commit.date, reverse=True)
    if call.request.parameter("sort") == "downloads":
        found.sort(key=lambda view: view.repo.downloads, reverse=True)
    return call.page(found, lambda view: _listed(call, view))


def _passes(call: Call, view: View) -> bool:
    wanted = call.request.parameters
    tags_wanted = [tag for value in wanted.get("filter", []) for tag in value.split(",")]
    return (
        set(tags_wanted + wanted.get("pipeline_tag", [])) <= set(tags(view))
        and call.request.parameter("author", view.repo.namespace) == view.repo.namespace
        and call.request.parameter("search").lower() in view.repo.id.lower()
        and call.request.parameter("gated", str(bool(view.repo.gated))).lower() == str(bool(view.repo.gated)).lower()
    )


def _listed(call: Call, view: View) -> dict[str, Any]:
    """A repo as an item of a listing, which is shorter than its own page unless more is asked for."""
    names = call.request.parameters.get("expand")
    described = facts(view, names)
    if names is None:
        asked = {"cardData": "cardData", "config": "config", "siblings": "full", "safetensors": "full"}
        for name, flag in asked.items():
            if not call.request.flag(flag) and not call.request.flag("full"):
                described.pop(name, None)
    return described


def validate_yaml(call: Call) -> Response:
    readme = call.request.json["content"]
    errors = [{"message": message} for message in card.errors(readme)]
    warnings = [{"message": message} for message in card.warnings(readme)]
    return reply({"errors": errors, "warnings": warnings}, 400 if errors else 200)


def not_found(call: Call) -> Response:
    raise HubError(404, "Not found: this address is not part of the test Hub")
