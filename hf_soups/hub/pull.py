"""Download a pinned commit and prove, once, that every weight file is what the Hub says it is."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_soups.errors import HubError
from hf_soups.hub import notes
from hf_soups.hub.errors import explained, passing

ATTEMPTS = 3
BLOCK = 1 << 22


def pull(repo: str, sha: str, names: Sequence[str], sha256: Mapping[str, str], token: str | None) -> Path:
    """The local snapshot of some files of a commit.

    sha256: the Hub's own checksums; each file that has one is compared once and then remembered.
    Raises HubError if a file cannot be had, or is not what the Hub says.
    """
    from huggingface_hub import snapshot_download

    folder: Path | None = None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with explained(f"{repo}@{sha[:12]}"):
                folder = Path(
                    snapshot_download(
                        repo, revision=sha, allow_patterns=list(names), token=token, library_name="hf_soups"
                    )
                )
            break
        except HubError as error:  # the client itself does not repeat file requests that failed with 5xx
            if attempt == ATTEMPTS or not passing(error):
                raise
            time.sleep(attempt)
    if folder is None:
        raise HubError(f"{repo}@{sha[:12]}: could not be downloaded")
    for name in names:
        if not (folder / name).is_file():
            raise HubError(f"{repo}@{sha[:12]}/{name}: missing after the download; try again")
        if name in sha256:
            _prove(folder / name, sha256[name], f"{repo}@{sha[:12]}/{name}")
    return folder


def _prove(path: Path, expected: str, where: str) -> None:
    """Compare a file's SHA-256 with the Hub's, unless this very file was proven before."""
    blob = path.resolve()
    if notes.is_proven(expected, blob):
        return
    digest = hashlib.sha256()
    with open(blob, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise HubError(
            f"{where}: corrupt download: sha256 is {digest.hexdigest()}, the Hub says {expected}; delete {blob} "
            "and try again"
        )
    notes.prove(expected, blob)
