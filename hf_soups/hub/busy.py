"""Answers that mean "not now": which they are, and how long to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from httpx2 import Response

PASSING = (408, 429, 500, 502, 503, 504)
PATIENCE = 300.0  # seconds that a server may ask us to wait: the Hub counts requests over five minutes


class Busy(Exception):
    """The server says: not now. wait: seconds, as far as it says."""

    def __init__(self, status: int, wait: float) -> None:
        super().__init__(f"the server answers {status}")
        self.wait = wait


def raise_if_busy(response: Response) -> None:
    """Busy if the same request may succeed later."""
    if response.status_code in PASSING:
        raise Busy(response.status_code, min(_asked_to_wait(response), PATIENCE))


def _asked_to_wait(response: Response) -> float:
    """Seconds, from the rate limit or Retry-After; 0 if the server does not say."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(response.headers)
    if response.status_code == 429 and limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds + 1.0
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else 0.0
