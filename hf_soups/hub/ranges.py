"""One file at one commit, read by byte range over connections that may break."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import numpy as np

from hf_soups.errors import HubError
from hf_soups.hub.ahead import Blocks, Reading
from hf_soups.hub.busy import Busy, raise_if_busy
from hf_soups.hub.errors import explained

if TYPE_CHECKING:
    from httpx2 import Response

TRIES = 7  # in a row that bring not a single byte
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds before the next try, doubled while nothing comes
HOPS = 5  # redirects in a row


@dataclass(eq=False)
class RemoteFile:
    """A file of the Hub; threads may read it at the same time.

    where: what messages call it. sha: the commit that it must be of.
    digest: the sha256 that the Hub lists for it; only compared with what the Hub says while it is read.
    blocks: shared by the files of one checkpoint, for reading ahead.
    """

    url: str
    size: int
    where: str
    token: str | None = None
    sha: str | None = None
    digest: str | None = None
    reading: Reading = field(default_factory=Reading)
    blocks: Blocks | None = None
    _place: str | None = field(default=None, init=False)  # where the Hub last sent us; a signed address that expires
    _tags: dict[str, str] = field(default_factory=dict, init=False)  # address without signature → ETag

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`.

        Raises HubError when the connection brings nothing more, or the file is not the one that was planned with.
        """
        if self.reading.ahead and self.blocks is not None and length > 0:
            return self.blocks.read(self, start, length)
        return self.fetch(start, length)

    def read_into(self, start: int, into: np.ndarray) -> None:
        into[:] = np.frombuffer(self.read(start, len(into)), np.uint8)

    def confirm(self) -> None:
        """A commit does not change."""

    def fetch(self, start: int, length: int) -> bytes:
        """The same, now and exactly: what came before a connection broke is kept, and asked for no more."""
        from httpx2 import NetworkError, ProxyError, RemoteProtocolError, TimeoutException

        pieces: list[bytes] = []
        got = fruitless = 0
        with explained(self.where):
            while got < length:
                before, wait, cause = got, 0.0, None
                try:
                    for piece in self._pieces(start + got, start + length):
                        pieces.append(piece)
                        got += len(piece)
                        self.reading.heard(len(piece))
                except (Busy, NetworkError, ProxyError, RemoteProtocolError, TimeoutException) as error:
                    cause, wait = error, getattr(error, "wait", 0.0)
                if got == length:
                    break
                self._place = None
                fruitless = 0 if got > before else fruitless + 1
                if fruitless == TRIES:
                    reason = str(cause or "") or "the answer ended early"
                    raise HubError(
                        f"{self.where}: stopped at byte {start + got:,} of {self.size:,}, and {TRIES} more tries "
                        f"brought nothing ({reason}); look at the connection and start again"
                    ) from cause
                time.sleep(max(wait, min(FIRST_WAIT * 2**fruitless, LONGEST_WAIT)))
        return b"".join(pieces)

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Bytes [start, stop) as they arrive; fewer if the answer ends early."""
        with self._answer(start, stop) as response:
            skip = start - self._first_byte(response)
            left = stop - start
            if skip < 0:
                raise HubError(f"{self.where}: asked for byte {start:,}, got byte {start - skip:,}; try again")
            for piece in response.iter_raw():
                wanted = piece[skip : skip + left]
                skip = max(0, skip - len(piece))
                left -= len(wanted)
                if wanted:
                    yield wanted
                if left == 0:
                    return

    @contextmanager
    def _answer(self, start: int, stop: int) -> Iterator[Response]:
        """The answer that holds the bytes, from wherever the Hub keeps them."""
        from httpx2 import Timeout
        from huggingface_hub import constants, get_session
        from huggingface_hub.utils import hf_raise_for_status

        timeout = Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        place = self._place  # once: another thread may forget it
        known, url = place is not None, place or self.url
        for _ in range(HOPS):
            headers = self._headers(url) | {"Range": f"bytes={start}-{stop - 1}"}
            with get_session().stream("GET", url, headers=headers, follow_redirects=False, timeout=timeout) as response:
                status = response.status_code
                raise_if_busy(response)
                if known and 400 <= status < 500:  # the signature has expired: ask the Hub for another
                    known, url = False, self.url
                    continue
                self._check_same(url, response)
                if response.has_redirect_location:
                    response.read()  # so that the connection can be used again
                    url = urljoin(url, response.headers["Location"])
                    continue
                if status >= 400:
                    response.read()
                    if self._is_hub(url):
                        hf_raise_for_status(response)
                    # in our own words, since theirs would print the signed address
                    raise HubError(f"{self.where}: the Hub's file storage answers {status}; try again")
                self._place = None if self._is_hub(url) else url
                yield response
                return
        raise HubError(f"{self.where}: redirected {HOPS} times in a row; try again")

    def _headers(self, url: str) -> dict[str, str]:
        """The token goes to the Hub and to nobody else; a range of a compressed body would mean nothing."""
        from huggingface_hub.utils import build_hf_headers

        token = self.token if self._is_hub(url) else False
        return {**build_hf_headers(token=token, library_name="hf_soups"), "Accept-Encoding": "identity"}

    def _is_hub(self, url: str) -> bool:
        ours, other = urlsplit(self.url), urlsplit(url)
        return (ours.scheme, ours.netloc) == (other.scheme, other.netloc)

    def _first_byte(self, response: Response) -> int:
        """Where in the file the body begins."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise HubError(f"{self.where}: sent compressed, so that no range of it can be read; leave out --stream")
        if response.status_code == 200:  # a server may ignore the range and send it all
            self._check_size(response.headers.get("Content-Length", "*"))
            return 0
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None:
            raise HubError(f"{self.where}: the answer does not say which bytes it holds; leave out --stream")
        self._check_size(found[2])
        return int(found[1])

    def _check_size(self, said: str) -> None:
        if said not in ("*", str(self.size)):
            self._changed(f"it has {said} bytes, not {self.size}")

    def _check_same(self, url: str, response: Response) -> None:
        """HubError unless every answer is about the same content as the one before."""
        headers = response.headers
        if response.status_code == 416:
            self._changed(f"it has fewer than {self.size} bytes")
        if response.status_code >= 400:
            return
        if self._is_hub(url) and self.sha and headers.get("X-Repo-Commit", self.sha) != self.sha:
            self._changed(f"it is of commit {headers['X-Repo-Commit'][:12]}")
        linked = _tag(headers.get("X-Linked-Etag"))
        if linked and self.digest and linked != self.digest:
            self._changed(f"its sha256 is {linked}, not {self.digest}")
        tag = linked or _tag(headers.get("ETag"))
        if tag and self._tags.setdefault(url.partition("?")[0], tag) != tag:
            self._changed("its ETag is another")

    def _changed(self, how: str) -> None:
        raise HubError(f"{self.where}: changed while it was read: {how}; start again")


def _tag(header: str | None) -> str:
    """An ETag without its quotes; a proxy may have made a strong one weak."""
    return (header or "").removeprefix("W/").strip('"')
