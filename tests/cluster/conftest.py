"""One Ray cluster of two processors for these tests, and nothing of it afterwards."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from hf_soups.pipeline.cluster import as_before


@pytest.fixture(scope="session")
def ray() -> Iterator[Any]:
    """The package, connected to a cluster that ends with the session."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:  # short: sockets
        with as_before():
            ray.init(
                address="local",
                num_cpus=2,
                object_store_memory=80 * 2**20,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
        yield ray
        ray.shutdown()
