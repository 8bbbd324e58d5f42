"""The Hub client's exceptions in our words: what, where, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hf_soups.errors import HubError


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise HubError for whatever the Hub client raises inside the block.

    what: the repository, revision or file that the block is about; it begins the message.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(f"{what}: gated; ask for access on its page, then pass a token (--token or HF_TOKEN)") from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{what}: no such revision; check the branch, tag or commit after @") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"{what}: not found, or private and the token may not see it (--token or HF_TOKEN)") from error
    except errors.LocalEntryNotFoundError as error:
        raise HubError(f"{what}: not in the cache, and the Hub was not reached") from error
    except errors.EntryNotFoundError as error:
        raise HubError(f"{what}: no such file in the repository") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubError(f"{what}: offline mode is on (HF_HUB_OFFLINE)") from error
    except errors.HFValidationError as error:
        raise HubError(f"{what}: neither a folder here nor a Hub id (org/name)") from error
    except errors.HfHubHTTPError as error:
        raise HubError(f"{what}: {_status(error)}") from error
    except (OSError, ValueError) as error:
        from httpx2 import HTTPError

        if isinstance(error, ValueError) and not isinstance(error.__cause__, HTTPError):
            raise
        raise HubError(f"{what}: {_first_line(error.__cause__ or error)}") from error


def passing(error: HubError) -> bool:
    """Whether the same request may succeed in a moment: the server was at fault, not the request."""
    response = getattr(error.__cause__, "response", None)
    return getattr(response, "status_code", None) in (500, 502, 503, 504)


def moved(error: HubError) -> bool:
    """Whether somebody else's commit came first."""
    return getattr(getattr(error.__cause__, "response", None), "status_code", None) == 412


def _status(error: Exception) -> str:
    response = getattr(error, "response", None)
    code = getattr(response, "status_code", None)
    if code == 401:
        return "the token is not valid; pass another with --token or HF_TOKEN"
    if code == 403:
        return "the token may not do this; it needs write access"
    if code == 412:
        return "the branch has moved since; look at what changed there and push again"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
