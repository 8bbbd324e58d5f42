"""python -m tests.local_hub --store DIR [--port N]: a Hub to try `hf` on."""

from __future__ import annotations

import argparse
import contextlib
import signal
from pathlib import Path

from .hub import LocalHub


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.local_hub", description=__doc__)
    parser.add_argument("--store", type=Path, help="folder that keeps repos between runs; default: a temporary one")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop cleanly, as with Ctrl-C
    with LocalHub(options.store, port=options.port) as hub:
        print(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={hub.token}  # {hub.user}; stop with Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
