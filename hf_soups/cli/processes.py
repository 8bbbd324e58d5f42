"""Commands under torchrun or accelerate: `merge` and `evaluate` share their work, all else is the first process's."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from hf_soups import ranks
from hf_soups.errors import SoupError


@contextmanager
def joined() -> Iterator[ranks.Ranks]:
    """The processes of this command; only the first one speaks, also of what went wrong elsewhere."""
    if reason := ranks.doubt(os.environ):
        click.echo(f"one process: {reason}", err=True)
    if "WORLD_SIZE" in os.environ:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost connection is told in our words
    if ranks.is_peer():
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    processes = ranks.join()
    try:
        with processes:
            yield processes
    except (SoupError, OSError):
        if processes.told and os.environ.get("HF_DEBUG") != "1":
            sys.exit(1)
        raise


def alone() -> None:
    """End every process but the first, which goes on as the only one."""
    if ranks.is_peer():
        sys.exit(0)
    ranks.go_alone()
