"""LocalHub: start it, point the real clients at it, look at what they did."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from . import routes
from .accounts import TOKENS
from .call import Call
from .errors import HubError
from .exchange import Request, Response
from .faults import Fault, Rule
from .log import Entry, Where
from .repos import MAIN, Repo
from .server import Server
from .site import Site

if TYPE_CHECKING:
    from huggingface_hub import HfApi


class LocalHub:
    """A Hub on a free port of 127.0.0.1, serving from its creation until `close`.

    store: a folder that keeps repos from one run to the next; None for a temporary one.
    port: 0 for any free port.
    page_size: items in a page of a listing.
    """

    user = "alice"
    token = "hf_CANARYaliceWrite"
    read_token = "hf_CANARYaliceRead"  # alice, read-only
    other_user = "bob"
    other_token = "hf_CANARYbobWrite"

    def __init__(self, store: Path | None = None, *, port: int = 0, page_size: int = 1000) -> None:
        assert {self.token, self.read_token, self.other_token} == set(TOKENS)
        self._temporary = tempfile.TemporaryDirectory(prefix="local-hub-") if store is None else None
        folder = Path(self._temporary.name if self._temporary else str(store)).resolve()
        self.site = Site(folder)
        self.page_size = page_size
        self._server = Server(port, self._answer)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        # Another host name, so that clients treat it as foreign: no token, no further redirects of HEAD.
        self.storage = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> LocalHub:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving, and jobs that still run. Repos stay in the store, if there is one."""
        self.site.jobs.close()
        self._server.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def environment(self, home: Path, *, xet: bool = False) -> dict[str, str]:
        """Variables that make the clients of this process or a child use this Hub, quietly.

        They are read when huggingface_hub, transformers or datasets are imported: set them before.

        home: HF_HOME, the folder of caches and logins.
        xet: whether files travel in the Xet dialect, the clients' default, instead of LFS.
        """
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "DISABLE_SAFETENSORS_CONVERSION": "1",  # transformers would ask the Hub to convert pickles
        }

    def api(self, token: str | bool | None = None) -> HfApi:
        """The real client; as alice unless given another token, anonymous with False."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token if token is None else token)

    def publish(self, repo_id: str, files: Mapping[str, bytes] | Path, *, repo_type: str = "model") -> str:
        """Create the repo if need be, add the files (by path, or a folder's) in one commit, and return its sha."""
        from huggingface_hub import CommitOperationAdd

        if isinstance(files, Path):
            paths = sorted(path for path in files.rglob("*") if path.is_file())
            additions = [CommitOperationAdd(path.relative_to(files).as_posix(), path) for path in paths]
        else:
            additions = [CommitOperationAdd(path, content) for path, content in files.items()]
        api = self.api()
        sdk = "static" if repo_type == "space" else None
        api.create_repo(repo_id, repo_type=repo_type, exist_ok=True, space_sdk=sdk)
        return api.create_commit(repo_id, additions, commit_message="Add files", repo_type=repo_type).oid

    def create_org(self, name: str, *members: str) -> None:
        """An organisation, of alice unless other members are named. (No client of the real Hub can do that.)"""
        self.site.create_org(name, list(members or [self.user]))

    def duplicate(self, repo_id: str, new_id: str) -> None:
        """A model of alice's with the files of another, faster than a client would upload them again."""
        owner = self.site.accounts.authenticate(f"Bearer {self.token}")
        files = self.site.repos["models", repo_id].resolve("main").files
        self.site.create_repo(owner, Repo("models", new_id)).add_commit(MAIN, files, "Add files", "", self.user)

    def set_downloads(self, repo_id: str, count: int) -> None:
        """How often a model was downloaded, as the Hub will say. (No client of the real Hub can do that.)"""
        self.site.repos["models", repo_id].downloads = count

    def log(self, where: Where = "") -> list[Entry]:
        """Requests in order of arrival, of which `where` (searched in "METHOD /path?query") is true."""
        return self._server.log.select(where)

    def bytes_sent(self, where: Where = "") -> int:
        """Bytes of body that answers to these requests held."""
        return sum(entry.bytes_sent for entry in self.log(where))

    def clear_log(self) -> None:
        self._server.log.clear()

    @contextlib.contextmanager
    def fault(self, pattern: str, fault: Fault, *, skip: int = 0, times: int | None = None) -> Iterator[Rule]:
        """Let requests go wrong inside the block; see `Rule` for the parameters."""
        rule = Rule(pattern, fault, skip, times)
        self._server.rules.append(rule)
        try:
            yield rule
        finally:
            self.clear_faults(rule)

    def clear_faults(self, *rules: Rule) -> None:
        """End these faults, or all."""
        self._server.rules[:] = [rule for rule in self._server.rules if rules and rule not in rules]

    @property
    def crashes(self) -> list[str]:
        """Tracebacks of errors in this server itself, oldest first; tests want none."""
        return self._server.crashes

    def _answer(self, request: Request) -> Response:
        found = routes.find_storage(request)
        if found is not None:
            if "Authorization" in request.headers:
                # As storage services do; and it makes every test one of this.
                raise HubError(400, "Only one authentication mechanism allowed: a signed address takes no token")
            endpoint, names = found
            return endpoint(self._call(request, names, authorization=None))
        endpoint, names = routes.find(request)
        call = self._call(request, names, request.headers.get("Authorization"))
        request.receive()  # before the lock is taken: nobody waits for a slow client
        with self.site.lock:
            return endpoint(call)

    def _call(self, request: Request, names: Mapping[str, str], authorization: str | None) -> Call:
        token = self.site.accounts.authenticate(authorization)
        return Call(self.site, request, token, names, self.endpoint, self.storage, self.page_size)
