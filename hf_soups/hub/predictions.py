"""Where predictions are kept: a folder, or a dataset of the Hub that is fetched before the work and sent to after."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from hf_soups.errors import EvaluationError, HubError
from hf_soups.evaluation.cache import PARTIAL, Predictions, believed
from hf_soups.hub.errors import explained, moved, passing

PREFIX = "hf://datasets/"
EVERY = 300.0  # seconds between two commits: what a killed run loses at most; the Hub takes some 100 commits an hour
ATTEMPTS = 5  # at a commit that others are first with, or that the server is too busy for
NAME = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})(\.arrow|\.[0-9a-f]{32}\.part)")  # the only files that are fetched
CARD = """---
tags: [hf_soups]
viewer: false
---
Predictions that hf_soups kept, so that no model is asked twice: one Arrow file for one model's answers to one dataset,
under the hash of all that decides them. `hf-soups merge --cache hf://datasets/ORG/NAME` uses and extends them. Any of
the files may be deleted; its answers are then computed again.
"""


@contextmanager
def predictions(
    place: str | Path | None, token: str | None = None, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Predictions]:
    """The cache in a place, for the length of some work.

    place: a folder, which several hosts may share; `hf://datasets/ORG/NAME`; None: the user's own cache.
    tell: hears what is fetched and sent.

    A dataset's predictions are fetched into the user's own cache. What the work asked for goes to the dataset every
    `EVERY` seconds and at the end, however the work ends, unfinished predictions too. A private dataset is created
    where there is none. Who may write there decides what models are said to have answered.
    Raises HubError if the dataset cannot be read or written.
    """
    dataset = dataset_of(place)
    if dataset is None:
        yield Predictions(_folder(str(place)) if place is not None else None)
        return
    shared = Shared(dataset, Predictions(), token, tell)
    shared.fetch()
    with shared.sending():
        yield shared.cache


def dataset_of(place: str | Path | None) -> str | None:
    """ORG/NAME in `hf://datasets/ORG/NAME`, None of a folder; HubError if it is neither."""
    text = str(place or "")
    if not text.startswith("hf://"):
        return None
    name = text.removeprefix(PREFIX).strip("/")
    if not text.startswith(PREFIX) or not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        raise HubError(f"{text}: predictions are kept in a folder or in a dataset; write {PREFIX}ORG/NAME")
    return name


class Shared:
    """A dataset and the local cache whose entries it gets and gives."""

    def __init__(
        self, repo: str, cache: Predictions, token: str | None, tell: Callable[[str], None], every: float = EVERY
    ) -> None:
        from huggingface_hub import HfApi, get_token

        self.repo = repo
        self.cache = cache
        self._tell = tell
        self._every = every
        self._there: dict[str, int] = {}  # the dataset's files and their bytes, at its head as far as known
        self._head = ""
        self._damaged: set[str] = set()
        self._api = HfApi(library_name="hf_soups", token=token)
        if not (token or get_token()):
            raise HubError(f"{self._where}: keeping predictions takes a token that may write (--token or HF_TOKEN)")

    def fetch(self) -> None:
        """What the dataset has and this disk has not; a file that does not prove itself counts as absent."""
        self._open()
        wanted = [name for name in self._there if self._is_wanted(name)]
        if not wanted:
            self._tell(f"nothing to fetch from {self._where}")
            return
        total = sum(self._there[name] for name in wanted)
        self._tell(f"fetching {_counted(len(wanted))} ({total:,} bytes) from {self._where}")
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(8) as workers:
            for name, path in zip(wanted, workers.map(lambda n: self._download(n, folder), wanted), strict=True):
                self._place(name, path)
        if self._damaged:
            self._tell(f"{_counted(len(self._damaged))} there damaged, and counted as absent")

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send now and then, and at the end, whatever ends it; what cannot be sent stays on this disk."""
        over = threading.Event()

        def now_and_then() -> None:
            while not over.wait(self._every):
                self._try_to_send()

        sender = threading.Thread(target=now_and_then, daemon=True)
        sender.start()
        try:
            yield
        finally:
            over.set()
            sender.join()
            self._try_to_send()

    def send(self) -> int:
        """Commit what the work asked for and the dataset does not have, at once; how many files that were."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        for attempt in range(1, ATTEMPTS + 1):
            try:
                added, removed = self._news()
                if not added:
                    return 0
                size = sum(len(f) if isinstance(f, bytes) else f.stat().st_size for f in added.values())
                self._tell(f"sending {_counted(len(added))} ({size:,} bytes) to {self._where}")
                card = {} if "README.md" in self._there else {"README.md": CARD.encode()}
                with explained(self._where):
                    commit = self._api.create_commit(
                        self.repo,
                        [
                            *(CommitOperationAdd(name, content) for name, content in {**card, **added}.items()),
                            *(CommitOperationDelete(name) for name in removed),
                        ],
                        commit_message=f"{_counted(len(added))} by hf_soups",
                        repo_type="dataset",
                        parent_commit=self._head,
                    )
            except HubError as error:
                if attempt == ATTEMPTS or not (moved(error) or passing(error)):
                    raise
                time.sleep(attempt - 1)
                self._look()
                continue
            self._head = commit.oid
            self._damaged -= set(added)
            sizes = {n: len(c) if isinstance(c, bytes) else c.stat().st_size for n, c in {**card, **added}.items()}
            self._there = {n: s for n, s in {**self._there, **sizes}.items() if n not in removed}
            return len(added)
        return 0

    @property
    def _where(self) -> str:
        return f"{PREFIX}{self.repo}"

    def _try_to_send(self) -> None:
        try:
            self.send()
        except (HubError, OSError, ValueError) as error:  # ValueError: a file was pruned before the client saw it
            self._tell(f"predictions were not sent: {error}; they stay in {self.cache.folder}")

    def _open(self) -> None:
        """Look at the dataset, which is created if need be; HubError unless it may be written."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            with explained(self._where):
                self._look()
                self._api.auth_check(self.repo, repo_type="dataset", write=True)
        except HubError as error:
            if not isinstance(error.__cause__, RepositoryNotFoundError):
                raise
            with explained(self._where):
                self._api.create_repo(self.repo, repo_type="dataset", private=True, exist_ok=True)
                self._look()
            self._tell(f"made {self._where}, private")

    def _look(self) -> None:
        with explained(self._where):
            self._head = str(self._api.dataset_info(self.repo).sha)
            entries = self._api.list_repo_tree(self.repo, recursive=True, revision=self._head, repo_type="dataset")
            files = {entry.path: int(entry.size) for entry in entries if hasattr(entry, "size")}
        known = {name: size for name, size in files.items() if NAME.fullmatch(name) or name == "README.md"}
        self._there = {name: size for name, size in known.items() if name not in self._damaged}

    def _is_wanted(self, name: str) -> bool:
        found = NAME.fullmatch(name)
        if found is None:
            return False
        here, whole = self.cache.folder / name, f"{found[1]}/{found[2]}.arrow"
        if found[3] == ".arrow":
            return not here.exists()
        if whole in self._there or (self.cache.folder / whole).exists():
            return False
        return not here.exists() or here.stat().st_size < self._there[name]

    def _download(self, name: str, folder: str) -> Path:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with explained(f"{self._where}/{name}"):
                    return Path(
                        self._api.hf_hub_download(
                            self.repo, name, repo_type="dataset", revision=self._head, local_dir=folder
                        )
                    )
            except HubError as error:  # the client itself does not repeat file requests that failed with 5xx
                if attempt == ATTEMPTS or not passing(error):
                    raise
                time.sleep(attempt)
        raise AssertionError("unreachable")

    def _place(self, name: str, path: Path) -> None:
        """Into the cache, whole at once."""
        target = self.cache.folder / name
        if target.suffix == ".arrow" and not believed(path, target.stem):
            self._damaged.add(name)
            del self._there[name]
            return
        partial = target.with_name(f".{target.name}{PARTIAL}{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, partial)
                os.replace(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise EvaluationError(
                f"predictions cannot be kept in {self.cache.folder}: {error.strerror or error}; set HF_SOUPS_CACHE to "
                "a folder with room that may be written"
            ) from error

    def _news(self) -> tuple[dict[str, Path | bytes], list[str]]:
        """What to add, by name, and which batches to remove since the whole is there.

        Batches are read at once, since their file may grow meanwhile.
        """
        added: dict[str, Path | bytes] = {}
        removed: list[str] = []
        for key in self.cache.asked:
            whole = f"{key[:2]}/{key}.arrow"
            for path in self.cache.files(key):
                name = f"{key[:2]}/{path.name}"
                if name == whole and whole not in self._there:
                    added[name] = path
                elif name != whole and whole not in self._there:
                    try:
                        content = path.read_bytes()
                    except FileNotFoundError:  # another process has all of it by now
                        continue
                    if len(content) > self._there.get(name, 0):
                        added[name] = content
            if whole in added or whole in self._there:
                removed += [n for n in self._there if n.startswith(f"{key[:2]}/{key}.") and n != whole]
        return added, removed


def _folder(place: str) -> Path:
    folder = Path(place).expanduser()
    if folder.exists() and not folder.is_dir():
        raise EvaluationError(f"{place}: is a file; --cache takes a folder, or {PREFIX}ORG/NAME")
    return folder


def _counted(count: int) -> str:
    return "1 prediction" if count == 1 else f"{count:,} predictions"
