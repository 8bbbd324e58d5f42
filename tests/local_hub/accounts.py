"""Who is calling, and which namespaces are theirs."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import BAD_TOKEN, HubError


@dataclass(frozen=True)
class Token:
    """An access token: whose it is, and whether it may write."""

    user: str
    role: str  # "read" | "write"


# Marked as canaries, so that a test may search any output, log or file for a leaked token.
TOKENS = {
    "hf_CANARYaliceWrite": Token("alice", "write"),
    "hf_CANARYaliceRead": Token("alice", "read"),
    "hf_CANARYbobWrite": Token("bob", "write"),
}


@dataclass
class Accounts:
    """The users behind TOKENS, and organisations with their members."""

    orgs: dict[str, list[str]] = field(default_factory=dict)

    def authenticate(self, authorization: str | None) -> Token | None:
        """The caller, or None when anonymous; 401 for a token that does not exist."""
        if authorization is None:
            return None
        token = TOKENS.get(authorization.removeprefix("Bearer ").strip())
        if token is None:
            raise HubError(401, BAD_TOKEN)
        return token

    def exists(self, namespace: str) -> bool:
        return namespace in self.orgs or any(token.user == namespace for token in TOKENS.values())

    def owns(self, user: str, namespace: str) -> bool:
        """Is it the user's own namespace, or an organisation the user belongs to?"""
        return user == namespace or user in self.orgs.get(namespace, ())

    def orgs_of(self, user: str) -> list[str]:
        return [org for org, members in self.orgs.items() if user in members]
